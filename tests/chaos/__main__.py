"""`python -m tests.chaos`: rounds, one after the other; ends with 1 when a promise was broken in any of them."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import this_machine, this_source

from tests.chaos.checks import violations
from tests.chaos.deck import FAULTS, ROUNDS, deal
from tests.chaos.evidence import Evidence, Violation
from tests.chaos.figures import Figures, figures_of
from tests.chaos.plan import Scale
from tests.chaos.replay import replay
from tests.chaos.report import Campaign, save, shortcomings, tables, write_page
from tests.chaos.round import Round, play
from tests.chaos.story import story_of

# Stories of this many broken promises of a round are told in full.
STORIES = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, help="play this one round again")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=Scale.threads)
    parser.add_argument("--secs", type=float, default=Scale.load_secs, help="how long the load goes on")
    parser.add_argument("--outage", type=float, default=Scale.outage_secs, help="how long the longest last")
    parser.add_argument("--only", help="deal only faults with this in their names")
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--logs", type=Path, help="write what the services logged into this directory")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--page", type=Path, help="write the figures between the markers of this page")
    return parser.parse_args()


async def one(seed: int, args: argparse.Namespace) -> Figures:
    """Play a round, tell what is broken, and return its figures."""
    scale = Scale(threads=args.threads, load_secs=args.secs, outage_secs=args.outage)
    faults = [fault for fault in FAULTS if args.only is None or args.only in fault.name]
    again = replay(seed, scale, args.only, calm=args.calm)
    strikes = [] if args.calm else deal(seed, scale, faults)
    print(f"round {seed}: {', '.join(strike.fault.name for strike in strikes)}", flush=True)
    began = time.monotonic()
    try:
        evidence = await play(Round(seed, scale, strikes))
    except Exception:  # noqa: BLE001 - whatever it was, its seed is told, and the next round is played
        traceback.print_exc()
        print(f"  BROKEN: the round did not come to its end\n  play it again: {again}", flush=True)
        return Figures(other_violations=1, secs=time.monotonic() - began)
    broken = list(violations(evidence))
    tell(again, evidence, broken)
    figures = figures_of(evidence, broken, time.monotonic() - began)
    print(
        f"  {figures.accepted} runs accepted, {figures.resumed} resumed, {figures.lost} lost, {figures.doubled} doubled, "
        f"{figures.out_of_order} out of order, {figures.other_violations} other promises broken; {figures.secs:.0f} s",
        flush=True,
    )
    if args.logs is not None:
        keep_logs(evidence, args.logs / str(seed))
    return figures


def keep_logs(evidence: Evidence, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for service, log in evidence.logs.items():
        (directory / f"{service}.log").write_text("\n".join(log), encoding="utf-8")


def tell(again: str, evidence: Evidence, broken: list[Violation]) -> None:
    for n, violation in enumerate(broken):
        where = violation.run_id or violation.thread_id or ""
        print(f"  BROKEN: {violation.check}: {where} {violation.what}")
        if n < STORIES:
            print(*(f"      {line}" for line in story_of(evidence, violation)), sep="\n")
    if broken:
        print(f"  play it again: {again}", flush=True)


async def main() -> int:
    args = arguments()
    warnings.filterwarnings("ignore", category=UserWarning)  # it tells of each reconnect
    machine, source = this_machine(), this_source()
    base = random.SystemRandom().randrange(1_000_000) * ROUNDS
    seeds = [args.seed] if args.seed is not None else [base + n for n in range(args.rounds)]
    campaign = Campaign(date=f"{datetime.now(UTC):%Y-%m-%d}", rounds={})
    for seed in seeds:
        campaign.rounds[seed] = await one(seed, args)
    print("", *tables(campaign), sep="\n\n")
    if args.json is not None:
        save(campaign, args.json)
    if args.page is not None:
        write_page(campaign, machine, source, args.page)
    missing = shortcomings(campaign) if len(seeds) >= ROUNDS else ()
    for what in missing:
        print(f"BROKEN: {what}")
    return 1 if campaign.total.violations or missing else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
