"""`python -m bench`: measure, judge, print, publish. The exit code is 1 when a goal was missed.

PEER_URL in the environment names another server that serves the same graphs, to be compared with; SERVED_PYTHON the interpreter
that runs Treadle's services, this one unless it says so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.goals import judge
from bench.load import ScenarioFailed, positive, some_of
from bench.machine import this_machine, this_source
from bench.measure import ALL, Plan, measure
from bench.picture import picture
from bench.progress import progress_of
from bench.record import Results, save
from bench.report import circumstances, page, tables
from bench.server import Size
from treadle.errors import TreadleError

HERE = Path(__file__).parent


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure `treadle dev` on this machine."
    )
    parser.add_argument("--rounds", type=positive, default=3, help="how often each thing is measured [3]")
    parser.add_argument("--only", type=some_of(ALL), default=ALL, help="scenarios, comma-separated [all]")
    parser.add_argument("--workers", type=positive, default=1, help="worker processes [1]")
    parser.add_argument("--jobs-per-worker", type=positive, default=10, help="runs per worker at once [10]")
    parser.add_argument(
        "--print-only", action="store_true", help="write no files; with --only none are written anyway"
    )
    return parser.parse_args()


def _measure(plan: Plan) -> Results:
    # Both before anything loads the machine or takes its time.
    machine, source = this_machine(), this_source()
    with progress_of(plan.steps) as progress:
        measured = asyncio.run(measure(plan, progress))
    return Results(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        source=source,
        machine=machine,
        rounds=plan.rounds,
        workers=plan.size.workers,
        jobs_per_worker=plan.size.jobs_per_worker,
        goals=judge(measured),
        measured=measured,
    )


def _publish(results: Results) -> None:
    """The file of this run, the picture of the latest, and the page that shows it."""
    data = save(results, HERE / "results")
    latest = data.with_name("latest.svg")
    latest.write_text(picture(results.measured), encoding="utf-8")
    links = (path.relative_to(HERE).as_posix() for path in (latest, data))
    (HERE / "results.md").write_text(page(results, *links), encoding="utf-8")
    print(f"\nWritten: bench/results.md, bench/results/{data.name}, bench/results/{latest.name}")


def main() -> int:
    """Returns the exit code."""
    options = _options()
    # An end that is asked for by SIGTERM must stop the servers as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    size = Size(options.workers, options.jobs_per_worker)
    plan = Plan(options.only, options.rounds, size, os.environ.get("PEER_URL") or None)
    try:
        results = _measure(plan)
        print(f"\n{tables(results)}\n\n{circumstances(results)}")
        # A part of the scenarios must not take the place of the whole.
        if not options.print_only and len(plan.scenarios) == len(ALL):
            _publish(results)
    except (TreadleError, ScenarioFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped before the end", file=sys.stderr)
        return 130
    return 0 if results.goals_met else 1


if __name__ == "__main__":
    sys.exit(main())
