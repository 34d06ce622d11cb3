#!/usr/bin/env python3
"""How soon the runs of many crons are made and done that are due in the same second: `python -m bench.crons`.

Starts real servers and services, writes the crons by SQL, and watches from the moment at which they are due. The exit
code is 1 when a goal was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import psutil

from bench.cpu import cpu_seconds, since
from bench.load import positive
from bench.machine import Machine, Source, this_machine, this_source
from bench.progress import Progress, progress_of
from bench.record import Verdict
from bench.report import goals_table, place_and_time, table, write_between
from bench.services import serving
from treadle.dev.servers import temporary_servers
from treadle.errors import TreadleError
from treadle.migrate import migrate
from treadle.model import default_assistant_id

HERE = Path(__file__).parent
BEGIN, END = "<!-- crons: written by `python -m bench.crons` -->", "<!-- end of crons -->"
ACCEPTED_SECS, STARTED_SECS = 10.0, 60.0
# From the writing of the crons until they are due.
LEAD = timedelta(seconds=8)
POLL_SECS = 0.25
SAY_SECS = 5.0
PATIENCE_SECS = 600.0
GRAPH = "echo"
STEPS = 4

FILL = """
insert into treadle.cron (cron_id, assistant_id, schedule, on_run_completed, payload, next_run_date)
select gen_random_uuid(), $1::uuid, $2, 'delete',
       json_build_object('assistant_id', $1::uuid, 'input', json_build_object()), $3
  from generate_series(1, $4)
"""
SO_FAR = """
select count(*) as accepted, count(started_at) as started, count(ended_at) as ended
  from treadle.tick join treadle.run using (run_id)
"""
# Seconds from the moment that all were due.
MOMENTS = """
select extract(epoch from percentile_disc(0.5) within group (order by started_at) - $1)::float8 as started_p50_s,
       extract(epoch from max(started_at) - $1)::float8 as started_s,
       extract(epoch from percentile_disc(0.5) within group (order by ended_at) - $1)::float8 as ended_p50_s,
       extract(epoch from max(ended_at) - $1)::float8 as ended_s
  from treadle.run
"""
# All of these are the number of crons when each has had one tick, and each tick one run that succeeded.
COUNTS = """
select (select count(*) from treadle.tick) as ticks,
       (select count(distinct cron_id) from treadle.tick where run_id is not null) as crons_with_a_run,
       (select count(*) from treadle.run) as runs,
       (select count(distinct run.metadata->>'cron_id') from treadle.run) as crons_of_runs,
       (select count(*) from treadle.run where status = 'success') as succeeded
"""


@dataclass(frozen=True)
class Plan:
    """How many crons, and who executes their runs."""

    crons: int
    workers: int
    jobs_per_worker: int


class CronResults(msgspec.Struct, frozen=True):
    """Everything that someone needs who reads the figures a year later. Seconds count from when all were due."""

    date: str
    source: Source
    machine: Machine
    crons: int
    workers: int
    jobs_per_worker: int
    goals: list[Verdict]
    counts: dict[str, int]
    seconds: dict[str, float]
    # Of the cores, by program, over the same time: what other programs do meanwhile changes it little.
    cpu_seconds: dict[str, float]


class Measured(msgspec.Struct, frozen=True):
    """What one run of the benchmark found, as `CronResults` has it."""

    counts: dict[str, int]
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]


class TooSlow(TreadleError):
    """The runs had not ended when the benchmark lost patience."""


async def measure(plan: Plan, progress: Progress) -> Measured:
    """Carry out the plan.

    Raises:
        ServiceFailed, TooSlow: as they say.
    """
    with tempfile.TemporaryDirectory(prefix="treadle-bench-") as logs:
        progress.step("start servers and services")
        async with temporary_servers() as servers:
            await migrate(servers.postgres.url)
            services = ["api", "scheduler", *["worker"] * plan.workers]
            settings = {
                "N_JOBS_PER_WORKER": str(plan.jobs_per_worker),
                "TREADLE_STATELESS_TTL_SECS": "3600",  # what is counted must not be tidied away
            }
            async with serving(servers, services, Path(logs), **settings):
                database = await asyncpg.connect(servers.postgres.url)
                try:
                    return await _measure(plan, progress, database)
                finally:
                    await database.close()


async def _measure(plan: Plan, progress: Progress, database: asyncpg.Connection[asyncpg.Record]) -> Measured:
    progress.step(f"write {plan.crons:,} crons")
    due = await _fill(database, plan.crons)
    progress.step(f"wait until they are due, at {due:%H:%M:%S} UTC")
    await asyncio.sleep(due.timestamp() - time.time())
    progress.step("watch their runs")
    this = psutil.Process()
    before = cpu_seconds(this)
    accepted = await _watch(database, due, plan.crons, progress)
    used = since(before, cpu_seconds(this))
    moments = await database.fetchrow(MOMENTS, due)
    counts = await database.fetchrow(COUNTS)
    assert moments is not None
    assert counts is not None
    return Measured(dict(counts), {"accepted_s": accepted, **moments}, used)


async def _fill(database: asyncpg.Connection[asyncpg.Record], crons: int) -> datetime:
    """Write crons that are due once a day, in the same second; returns when that is."""
    due = (datetime.now(UTC) + LEAD).replace(microsecond=0)
    schedule = f"{due.minute} {due.hour} * * * {due.second}"
    await database.execute(FILL, default_assistant_id(GRAPH), schedule, due, crons)
    await database.execute("vacuum analyze treadle.cron")
    return due


async def _watch(
    database: asyncpg.Connection[asyncpg.Record], due: datetime, crons: int, progress: Progress
) -> float:
    """Until all runs have ended; returns the seconds after which all were seen to be accepted.

    Raises:
        TooSlow: they have not ended in time.
    """
    accepted, said = float("inf"), 0.0
    while True:
        row = await database.fetchrow(SO_FAR)
        assert row is not None
        passed = time.time() - due.timestamp()
        if row["accepted"] >= crons:
            accepted = min(accepted, passed)
        done = row["ended"] >= crons
        if done or passed - said >= SAY_SECS:
            said = passed
            progress.say("  {:5.1f} s  {:,} accepted, {:,} started, {:,} ended".format(passed, *row))
        if done:
            return accepted
        if passed > PATIENCE_SECS:
            raise TooSlow(f"{row['ended']:,} of {crons:,} runs had ended after {passed:.0f} s.")
        await asyncio.sleep(POLL_SECS)


def judge(crons: int, counts: Mapping[str, int], seconds: Mapping[str, float]) -> list[Verdict]:
    wrong = [f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if value != crons]
    return [
        _in_time("all accepted", seconds["accepted_s"], ACCEPTED_SECS),
        _in_time("all started", seconds["started_s"], STARTED_SECS),
        Verdict(
            "one tick and one run of each cron", ", ".join(wrong) or f"{crons:,} of {crons:,}", not wrong
        ),
    ]


def _in_time(what: str, seconds: float, limit: float) -> Verdict:
    return Verdict(f"{what} in under {limit:g} s", f"{seconds:.1f} s", seconds < limit)


def paragraphs(results: CronResults) -> list[str]:
    """The results as Markdown that is also legible as it is."""
    figures = [
        [name.removesuffix("_s").replace("_", " "), f"{value:.1f}"] for name, value in results.seconds.items()
    ]
    cpu = [[program, f"{value:.1f}"] for program, value in results.cpu_seconds.items()]
    return [
        goals_table(results.goals),
        table(["from due until", "seconds"], figures),
        table(["program", "CPU seconds"], cpu),
        (
            f"{place_and_time(results.date, results.source, results.machine)} Crons: {results.crons:,}; workers: "
            f"{results.workers}, with {results.jobs_per_worker} jobs each."
        ),
    ]


def publish(results: CronResults) -> None:
    """The file of this run, and the page."""
    name = f"crons-{results.date}-{results.source.commit}.json"
    seconds, cpu = (
        {key: round(value, 3) for key, value in figures.items()}
        for figures in (results.seconds, results.cpu_seconds)
    )
    encoded = msgspec.json.encode(msgspec.structs.replace(results, seconds=seconds, cpu_seconds=cpu))
    (HERE / "results" / name).write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    write_between(HERE / "README.md", BEGIN, END, paragraphs(results))
    print(f"\nWritten: bench/results/{name}, bench/README.md")


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crons", type=positive, default=10_000)
    parser.add_argument("--workers", type=positive, default=2, help="worker processes [2]")
    parser.add_argument("--jobs-per-worker", type=positive, default=10, help="runs per worker at once [10]")
    parser.add_argument("--print-only", action="store_true", help="write no files")
    options = parser.parse_args()
    plan = Plan(options.crons, options.workers, options.jobs_per_worker)
    # An end that is asked for by SIGTERM must stop the servers as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Both before anything loads the machine or takes its time.
    machine, source = this_machine(), this_source()
    try:
        with progress_of(STEPS) as progress:
            measured = asyncio.run(measure(plan, progress))
    except TreadleError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped before the end", file=sys.stderr)
        return 130
    goals = judge(plan.crons, measured.counts, measured.seconds)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    results = CronResults(
        date,
        source,
        machine,
        plan.crons,
        plan.workers,
        plan.jobs_per_worker,
        goals,
        *msgspec.structs.astuple(measured),
    )
    print("\n" + "\n\n".join(paragraphs(results)))
    if not options.print_only:
        publish(results)
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
