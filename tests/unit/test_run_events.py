"""Where a look into the outbox of run events begins."""

from __future__ import annotations

from treadle.db.pool import COMMAND_TIMEOUT_SECS
from treadle_scheduler.run_events import Start


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def looks(secs: int) -> list[int]:
    """Where the look of each second begins, when what it settles are ids that tell the second: ten times as much."""
    clock = Clock()
    start = Start(clock)
    afters: list[int] = []
    for second in range(secs):
        clock.now = 1000.0 + second
        afters.append(start.after())
        start.settled(second * 10)
    return afters


def test_a_look_begins_behind_what_was_settled_a_while_ago() -> None:
    for second, after in enumerate(looks(300)):
        latest = max(0, second - Start.LAG_SECS) * 10
        earliest = 0 if second % Start.ALL_SECS == 0 else (second - 2 * Start.LAG_SECS - 1) * 10
        assert earliest <= after <= latest, (second, after)


def test_no_look_passes_over_an_event_while_its_transaction_may_still_be_committed() -> None:
    """One that has its id, and waits for the lock of a thread: later ids are settled in the meantime."""
    afters = looks(300)
    for drawn in range(200):
        assert max(afters[drawn : drawn + int(COMMAND_TIMEOUT_SECS) + 1]) <= drawn * 10


def test_a_look_at_everything_comes_once_a_minute() -> None:
    from_the_start = [second for second, after in enumerate(looks(300)) if after == 0]
    assert [second for second in from_the_start if second > 100] == [120, 180, 240]


def test_what_was_left_behind_is_looked_for_from_the_start() -> None:
    clock = Clock()
    start = Start(clock)
    for second in range(100):
        clock.now = 1000.0 + second
        start.after()
        start.settled(second)
    assert start.after() > 0

    start.reset()

    assert start.after() == 0
