"""What Treadle promises of its speed, and whether the figures keep it.

Start and stop are judged by the worst round, since each is promised of every time; all else by the median of the
rounds, and what is promised in comparison with bare langgraph by the medians of the same run. What was left out with
--only is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from bench.load import medians
from bench.record import Measured, Verdict
from bench.units import named, number, unit_of

NEW_DIR_SECS = 12.0
OLD_DIR_SECS = 5.0
STOP_SECS = 10.0


class Goal(NamedTuple):
    """A bound on the median of one figure, or on how many times the figure of bare langgraph it may be."""

    scenario: str
    figure: str
    bound: Literal["at most", "under", "at least"]
    limit: float
    of_bare: bool = False

    def __str__(self) -> str:
        unit = "x bare" if self.of_bare else unit_of(self.figure)
        return f"{self.scenario} {named(self.figure)} {self.bound} {self.limit:,g} {unit}".rstrip()

    def met(self, value: float) -> bool:
        if self.bound == "at least":
            return value >= self.limit
        return value < self.limit if self.bound == "under" else value <= self.limit


GOALS = (
    Goal("single_wait", "p50_ms", "at most", 15),
    Goal("single_wait", "p50_ms", "at most", 2, of_bare=True),
    Goal("wait_runs", "runs_per_s", "at least", 200),
    Goal("wait_runs", "runs_per_s", "at least", 1, of_bare=True),
    Goal("chain", "runs_per_s", "at least", 80),
    Goal("burst", "accepted_per_s", "at least", 1500),
    Goal("burst", "runs_per_s", "at least", 200),
    Goal("hot_thread", "runs_per_s", "at least", 80),
    Goal("stream_one", "first_event_ms", "at most", 20),
    Goal("stream_one", "events_per_s", "at least", 25_000),
    Goal("stream_many", "first_event_p50_ms", "at most", 60),
    Goal("stream_many", "events_per_s", "at least", 20_000),
    Goal("idle_streams", "each_kib", "under", 40),
    Goal("idle_streams", "first_event_p50_ms", "under", 50),
    Goal("queue_depth", "claim_deep_to_shallow_times", "at most", 1.2),
    Goal("queue_depth", "create_deep_to_shallow_times", "at most", 1.2),
    Goal("memory", "api_mib", "under", 120),
    Goal("memory", "worker_mib", "under", 160),
)


def judge(measured: Measured) -> list[Verdict]:
    times = measured.times
    return [
        *(verdict for goal in GOALS if (verdict := _verdict(goal, measured))),
        *_order(measured),
        _failures(measured),
        _time("ready on a new data directory", times.new_dir, NEW_DIR_SECS),
        _time("ready on an old data directory", times.old_dir, OLD_DIR_SECS),
        _time("stopped after Ctrl-C", times.stop, STOP_SECS),
    ]


def _verdict(goal: Goal, measured: Measured) -> Verdict | None:
    """None: it was not measured."""
    played = (measured.treadle, measured.bare) if goal.of_bare else (measured.treadle,)
    if any(goal.scenario in each.failures for each in played):
        return Verdict(str(goal), "failed", met=False)
    if goal.scenario not in measured.treadle.figures:
        return None
    value, *bare = (medians(each.figures[goal.scenario])[goal.figure] for each in played)
    if bare:
        value /= bare[0]
        return Verdict(str(goal), f"{value:.2f} x", goal.met(value))
    return Verdict(str(goal), f"{number(value)} {unit_of(goal.figure)}".rstrip(), goal.met(value))


def _order(measured: Measured) -> Iterator[Verdict]:
    goal = "hot_thread in order in every round"
    if rounds := measured.treadle.figures.get("hot_thread"):
        in_order = sum(figures["in_order"] == 1 for figures in rounds)
        yield Verdict(goal, f"{in_order} of {len(rounds)}", in_order == len(rounds))
    elif "hot_thread" in measured.treadle.failures:
        yield Verdict(goal, "failed", met=False)


def _failures(measured: Measured) -> Verdict:
    """A scenario in which the server answered but a run did not succeed has failed as well."""
    treadle = measured.treadle
    unsuccessful = [
        name
        for name, rounds in treadle.figures.items()
        if any(figures.get("succeeded", 1) < 1 for figures in rounds)
    ]
    failed = [*treadle.failures, *unsuccessful]
    played = len(treadle.figures) + len(treadle.failures)
    said = f"{', '.join(failed)} failed" if failed else f"none of {played}"
    return Verdict("no scenario fails", said, not failed)


def _time(what: str, seconds: Sequence[float], limit: float) -> Verdict:
    return Verdict(f"{what} in under {limit:g} s", f"{max(seconds):.1f} s", max(seconds) < limit)
