"""`python -m tests.chaos`: rounds, one after the other, until the last one or a broken promise."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

from tests.chaos.checks import violations
from tests.chaos.deck import ROUNDS, deal
from tests.chaos.plan import Scale
from tests.chaos.round import Round, play


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, help="play this one round again")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=100)
    parser.add_argument("--secs", type=float, default=30.0, help="how long the load goes on")
    parser.add_argument("--calm", action="store_true", help="without faults")
    return parser.parse_args()


async def main() -> int:
    args = arguments()
    scale = Scale(threads=args.threads, load_secs=args.secs)
    base = random.SystemRandom().randrange(1_000_000) * ROUNDS
    seeds = [args.seed] if args.seed is not None else [base + n for n in range(args.rounds)]
    broken = 0
    for seed in seeds:
        began = time.monotonic()
        print(f"round {seed}", flush=True)
        strikes = [] if args.calm else deal(seed, scale)
        evidence = await play(Round(seed, scale, strikes))
        print(f"  {len(evidence.runs)} runs, {time.monotonic() - began:.1f} s", flush=True)
        for violation in violations(evidence):
            broken += 1
            print(f"  BROKEN {violation}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
