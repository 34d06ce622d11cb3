"""What Treadle promises of its speed, and whether the figures keep it.

Start and stop are judged by the worst round, since each is promised of every time; latency by the median of the
rounds. What was left out with --only is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.load import medians
from bench.record import Measured, Verdict

SINGLE_WAIT_P50_MS = 40.0
NEW_DIR_SECS = 12.0
OLD_DIR_SECS = 5.0
STOP_SECS = 10.0


def judge(measured: Measured) -> list[Verdict]:
    times = measured.times
    return [
        *_latency(measured),
        *_order(measured),
        _failures(measured),
        _time("ready on a new data directory", times.new_dir, NEW_DIR_SECS),
        _time("ready on an old data directory", times.old_dir, OLD_DIR_SECS),
        _time("stopped after Ctrl-C", times.stop, STOP_SECS),
    ]


def _latency(measured: Measured) -> Iterator[Verdict]:
    goal = f"single_wait p50 under {SINGLE_WAIT_P50_MS:g} ms"
    if rounds := measured.figures.get("single_wait"):
        p50 = medians(rounds)["p50_ms"]
        yield Verdict(goal, f"{p50:.1f} ms", p50 < SINGLE_WAIT_P50_MS)
    elif "single_wait" in measured.failures:
        yield Verdict(goal, "failed", met=False)


def _order(measured: Measured) -> Iterator[Verdict]:
    goal = "hot_thread in order in every round"
    if rounds := measured.figures.get("hot_thread"):
        in_order = sum(figures["in_order"] == 1 for figures in rounds)
        yield Verdict(goal, f"{in_order} of {len(rounds)}", in_order == len(rounds))
    elif "hot_thread" in measured.failures:
        yield Verdict(goal, "failed", met=False)


def _failures(measured: Measured) -> Verdict:
    """A scenario in which the server answered but a run did not succeed has failed as well."""
    unsuccessful = [
        name
        for name, rounds in measured.figures.items()
        if any(figures.get("succeeded", 1) < 1 for figures in rounds)
    ]
    failed = [*measured.failures, *unsuccessful]
    played = len(measured.figures) + len(measured.failures)
    said = f"{', '.join(failed)} failed" if failed else f"none of {played}"
    return Verdict("no scenario fails", said, not failed)


def _time(what: str, seconds: Sequence[float], limit: float) -> Verdict:
    return Verdict(f"{what} in under {limit:g} s", f"{max(seconds):.1f} s", max(seconds) < limit)
