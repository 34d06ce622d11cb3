#!/usr/bin/env python3
"""What many concurrent runs cost: `python -m bench.scale [--sessions 10000 --workers 100 ...] [--simulate]`.

Prints what the model says of a fleet: connections, messages, statements; and, by the CPU that the last simulation measured, what is
full first. With --simulate it plays the fleet on servers of its own, holds the model against what they have counted, and writes
docs/scale.md. The exit code is 1 when the model is off.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime

from bench.machine import this_machine, this_source
from bench.progress import progress_of
from bench.scale.checks import checks
from bench.scale.costs import RESULTS, cores, loads, measured_costs
from bench.scale.fleet import Fleet
from bench.scale.model import predict
from bench.scale.page import Results, blocks, latest, loads_table, model_table, publish, write_model
from bench.scale.simulation import STEPS, Spans, simulate
from treadle.errors import TreadleError

# What a small machine has room for: two API processes, and small pools, as each connection is a process of Postgres.
SIMULATED = {"api_processes": 2, "pool_size": 2, "subscribers": 1.1}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for each in fields(Fleet):
        kind = int if isinstance(each.default, int) else float
        parser.add_argument(_flag(each.name), type=kind, help=f"[{each.default}]")
    parser.add_argument("--simulate", action="store_true", help="hold the model against real servers")
    for each in fields(Spans):
        parser.add_argument(
            _flag(f"{each.name}_secs"), type=float, help=f"of the simulation [{each.default}]"
        )
    parser.add_argument("--write", action="store_true", help="put the model's figures on docs/scale.md")
    parser.add_argument("--print-only", action="store_true", help="write no files")
    return parser.parse_args()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(options: argparse.Namespace, names: dict[str, str]) -> dict[str, float]:
    """The options that were given, by the names of the fields that they are about."""
    return {
        field: value for option, field in names.items() if (value := getattr(options, option)) is not None
    }


def _show(fleet: Fleet, *, write: bool) -> int:
    prediction = predict(fleet)
    shown = [model_table(prediction)]
    if (results := latest(RESULTS)) is not None:
        shown += [
            loads_table(loads(fleet, cores(fleet, prediction, results.costs))),
            f"By the CPU of the simulation of {results.date}, commit {results.source.commit}.",
        ]
    print("\n\n".join(shown))
    if write:
        write_model(shown)
    return 0


def _simulate(fleet: Fleet, spans: Spans, *, print_only: bool) -> int:
    # Both before anything loads the machine.
    machine, source = this_machine(), this_source()
    with progress_of(STEPS) as progress:
        simulated = asyncio.run(simulate(fleet, spans, progress))
    found = checks(fleet, spans, simulated)
    costs = measured_costs(simulated, fleet.sessions)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    results = Results(date, source, machine, fleet, spans, found, costs, simulated)
    print("\n" + "\n\n".join(blocks(results)))
    if not print_only:
        print(f"\nWritten: bench/results/{publish(results, RESULTS).name}, docs/scale.md")
    return 0 if all(each.holds for each in found) else 1


def main() -> int:
    """Returns the exit code."""
    options = _options()
    # An end that is asked for by SIGTERM must stop the servers as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = _given(options, {each.name: each.name for each in fields(Fleet)})
    try:
        if not options.simulate:
            return _show(replace(Fleet(), **given), write=options.write)
        spans = replace(
            Spans(), **_given(options, {f"{each.name}_secs": each.name for each in fields(Spans)})
        )
        return _simulate(replace(Fleet(), **{**SIMULATED, **given}), spans, print_only=options.print_only)
    except TreadleError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped before the end", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
