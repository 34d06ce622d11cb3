"""Where a look into the outbox of run events begins."""

from __future__ import annotations

from treadle_scheduler.run_events import Start


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_look_begins_behind_what_was_settled_some_seconds_ago() -> None:
    clock = Clock()
    start = Start(clock)
    seen: list[int] = []
    for second in range(50):
        clock.now = 1000.0 + second
        seen.append(start.after())
        start.settled(second * 10)

    for second, after in enumerate(seen):
        assert (second - 11) * 10 <= after <= max(0, (second - 5) * 10), (second, after)


def test_a_look_at_everything_comes_once_a_minute() -> None:
    clock = Clock()
    start = Start(clock)
    afters: list[int] = []
    for second in range(1, 181):
        clock.now = 1000.0 + second
        afters.append(start.after())
        start.settled(second)

    assert [second for second, after in enumerate(afters, 1) if after == 0 and second > 15] == [60, 120, 180]


def test_what_was_left_behind_is_looked_for_from_the_start() -> None:
    clock = Clock()
    start = Start(clock)
    for second in range(20):
        clock.now = 1000.0 + second
        start.after()
        start.settled(second)
    assert start.after() > 0

    start.reset()

    assert start.after() == 0
