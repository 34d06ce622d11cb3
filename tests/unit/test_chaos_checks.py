"""The checks of the chaos suite are checked: a sound history passes all of them, and each one that is broken is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest

from tests.chaos.audit import CheckpointChange, History, LeaseChange, RunChange, RunHistory
from tests.chaos.checks import violations
from tests.chaos.evidence import Evidence, Published, Streamed, Struck, ThreadState
from tests.chaos.load import was_told_where_to_wait
from tests.chaos.plan import Scale
from tests.chaos.record import Asked, Cancelled, Followed, Record
from tests.chaos.replay import replay
from tests.chaos.settings import BLOCK_SECS
from tests.chaos.site import Death, Freeze
from tests.chaos.witness import Mark
from tests.chaos.work import Work
from tests.stack import Service
from treadle_worker.app import worker_name

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
THREAD = "thread"
OTHER = "other"
STOPPED = "the run was cancelled"

Tell = Callable[["Told"], None]


def at(secs: float) -> datetime:
    return BEGIN + timedelta(seconds=secs)


class Told:
    """What is known of a round with one thread. Times are seconds after its begin."""

    def __init__(self) -> None:
        self.record = Record()
        self.runs: dict[str, RunHistory] = {}
        self.marks: list[Mark] = []
        self.streams: dict[str, list[Streamed]] = {}
        self.struck: list[Struck] = []
        self.deaths: list[Death] = []
        self.freezes: list[Freeze] = []
        self.state = ThreadState("idle", {}, {}, ())
        self.lost = False

    def run(
        self,
        label: str,
        work: Work | None,
        *changes: tuple[float, str, int],
        strategy: str = "enqueue",
        error: str = "",
        thread: str = THREAD,
        due: float | None = None,
    ) -> None:
        """A run that was asked for, accepted, and became this: (when, status or `gone`, attempt)."""
        seq = len(self.runs) + 1
        asked = Asked(
            label,
            thread,
            work,
            "create",
            strategy,
            at(changes[0][0] - 0.1),
            "accepted",
            at(changes[0][0] + 0.1),
        )
        self.record.asked.append(replace(asked, run_id=label))
        history = self.runs[label] = RunHistory()
        for when, became, attempt in changes:
            gone = became == "gone"
            status = history.last.status if gone else became
            cause = (error or None) if became not in ("pending", "running") else None
            history.changes.append(
                RunChange(round(when * 1000), at(when), gone, label, thread, seq, status, attempt, 0, None,
                          None if due is None else at(due), at(when) if became == "running" else None, label, "async", strategy, work is None, cause)
            )  # fmt: skip

    def step(self, run: str, label: str, n: int, begin: float, end: float, *, attempt: int = 1) -> None:
        """A step that was done, and committed soon after; the thread shows it."""
        self.mark("start", run, label, n, begin, attempt)
        self.mark("end", run, label, n, end, attempt)
        name, committed = f"{label}.{n}", end + 0.05
        before = self.state.kept.get("done", [])
        parent = before[-1] if before else None
        self.runs[run].checkpoints.append(
            CheckpointChange(round(committed * 1000), at(committed), False, THREAD, "", name, parent, run, attempt, "loop",
                             label, n + 1)
        )  # fmt: skip
        self.shows([*before, name])

    def mark(self, what: Any, run: str, label: str, n: int, when: float, attempt: int = 1) -> None:
        self.marks.append(Mark(what, run, attempt, label, n, 1, at(when)))

    def shows(self, done: list[str], status: str = "idle", *then: str) -> None:
        self.state = ThreadState(status, {"done": done}, {"done": done}, then)

    def cancel(self, run: str, action: str, sent: float, answered: float, *, accepted: bool = True) -> None:
        self.record.cancelled.append(Cancelled(run, action, at(sent), at(answered), accepted))

    def found(self) -> set[str]:
        """The names of the checks that have found something."""
        changes = sorted(
            (change for run in self.runs.values() for change in run.changes), key=lambda each: each.id
        )
        threads: dict[str, list[RunHistory]] = {}
        for run in sorted(self.runs.values(), key=lambda run: run.first.seq):
            threads.setdefault(run.first.thread_id, []).append(run)
        evidence = Evidence(
            record=self.record,
            history=History(self.runs, threads),
            marks=sorted(self.marks, key=lambda mark: mark.at),
            states={THREAD: self.state, OTHER: ThreadState("error", {}, {}, ("step",))},
            streams=self.streams,
            published=[
                Published(
                    each.run_id, each.thread_id, each.attempt, "rolled_back" if each.gone else each.status
                )
                for each in changes
            ],
            left={},
            struck=self.struck,
            deaths=self.deaths,
            freezes=self.freezes,
            logs={},
            restless="",
            redis_lost=self.lost,
        )
        return {violation.check for violation in violations(evidence)}


def one_step(told: Told, *, status: str = "success", work: Work | None = None, error: str = "") -> None:
    """A run `a` that is on from 1 to 3, and does one step."""
    task = work or Work(1, 0.1, 2)
    told.run("a", task, (0, "pending", 0), (1, "running", 1), (3, status, 1), error=error)
    told.step("a", "a", 0, 1.2, 2)


def question(told: Told) -> None:
    """A run `q` that does a step, and asks before its second one, of three."""
    told.run("q", Work(3, 0.1, 0, ask=1), (0, "pending", 0), (1, "running", 1), (3, "success", 1))
    told.step("q", "q", 0, 1.2, 2)
    told.shows(["q.0"], "interrupted", "step")


def answer(told: Told, steps: int) -> None:
    told.run("answer", None, (4, "pending", 0), (5, "running", 1), (9, "success", 1))
    for n in range(1, steps + 1):
        told.step("answer", "q", n, 4.5 + n, 5 + n)


def waits(told: Told, end: str) -> None:
    """A run that ends in the queue."""
    told.run("a", Work(1, 0.1, 0), (0, "pending", 0), (1, end, 0))


# Sound histories


def a_cancel_is_obeyed(told: Told) -> None:
    one_step(told, status="interrupted", error=STOPPED)
    told.cancel("a", "interrupt", 2.1, 2.2)


def a_finished_step_is_shown_until_a_run_leaves_a_checkpoint(told: Told) -> None:
    """Its run was stopped before the checkpoint, and the one after it before it had done anything."""
    told.run("a", Work(2, 0.1, 2), (0, "pending", 0), (1, "running", 1), (3, "interrupted", 1), error=STOPPED)
    told.step("a", "a", 0, 1.1, 1.5)
    told.mark("start", "a", "a", 1, 1.6)
    told.mark("end", "a", "a", 1, 2.2)
    told.cancel("a", "interrupt", 2.1, 2.2)
    told.run(
        "b", Work(1, 0.1, 0), (4, "pending", 0), (5, "running", 1), (5.1, "interrupted", 1), error=STOPPED
    )
    told.cancel("b", "interrupt", 4.9, 5.05)
    told.shows(["a.0", "a.1"])


def a_cancel_in_the_queue_is_obeyed(told: Told) -> None:
    waits(told, "gone")
    told.cancel("a", "rollback", 0.9, 1.2)


def a_strategy_takes_the_place(told: Told) -> None:
    waits(told, "interrupted")
    told.run(
        "b", Work(1, 0.1, 0), (1, "pending", 0), (2, "running", 1), (4, "success", 1), strategy="interrupt"
    )
    told.step("b", "b", 0, 2.2, 3)


def a_run_is_not_due_yet(told: Told, due: float = 1.001) -> None:
    """It comes due after the claim decided for a later one, and before the row of that one says so."""
    told.run("d", Work(1, 0.1, 0), (0, "pending", 0), (5, "running", 1), (7, "success", 1), due=due)
    told.run("a", Work(1, 0.1, 0), (0.5, "pending", 0), (1, "running", 1), (3, "success", 1))
    began = told.runs["a"].changes[1]
    told.runs["a"].changes[1] = replace(began, at=at(1.002))
    told.step("a", "a", 0, 1.2, 2)
    told.step("d", "d", 0, 5.2, 6)


def a_question_is_answered(told: Told) -> None:
    question(told)
    answer(told, 2)


def a_zombie_stops_soon(told: Told) -> None:
    told.run("a", Work(1, 0.1, 0), (0, "pending", 0), (1, "running", 1), (4, "running", 2), (6, "success", 2))
    told.mark("start", "a", "a", 0, 1.2)
    told.mark("end", "a", "a", 0, 4.3)
    told.step("a", "a", 0, 4.5, 5, attempt=2)


def a_zombie_is_blocked_when_its_process_goes_on(told: Told) -> None:
    """It was stopped as another node was about to block."""
    a_zombie_stops_soon(told)
    told.mark("block", "other", "other", 0, 2)
    told.freezes.append(Freeze(1, at(2.1), at(7)))
    told.mark("end", "a", "a", 0, 7 + BLOCK_SECS + 0.1)


def a_mark_was_in_flight(told: Told) -> None:
    a_cancel_is_obeyed(told)
    told.mark("start", "a", "a", 1, 3.01)


def its_worker_was_gone(told: Told) -> None:
    """A cancelled run that ends without its worker: what the thread shows is not promised."""
    one_step(told, status="interrupted")
    told.cancel("a", "interrupt", 2.1, 2.2)
    told.state = ThreadState("idle", {}, {"done": ["a.0"]}, ("step",))
    told.struck.append(Struck("worker: kill -9", at(2), at(2), "17"))


def redis_was_away(told: Told) -> None:
    one_step(told)
    told.streams["a"] = [Streamed(1, 3, "custom", {})]
    told.struck.append(Struck("Redis: hangs", at(2), at(2.5), "Redis"))


def the_api_could_not_reach_redis(told: Told) -> None:
    """A stream whose run ends meanwhile ends without what it could not read."""
    a_stream_ends_early(told)
    told.struck.append(Struck("network: api to valkey is cut", at(2), at(5.5), "2 connections"))


def beside_one_without_memory(told: Told, pid: int = 1) -> None:
    """It fails, on worker 1, while a node took all memory of a process: the same one, or another."""
    one_step(told, status="error")
    told.shows(["a.0"], "error")
    told.runs["a"].leases.append(LeaseChange(at(1), "a", 1, f"host-{pid}-nonce/1"))
    told.mark("hoard", "other", "other", 0, 2)


def beside_one_that_holds_all_memory_for_long(told: Told, until: float = 2) -> None:
    """It fails, and was begun more than a second after the node took all memory."""
    hoard = Work(1, 0.1, 0, harm="hoard")
    told.run("h", hoard, (-3, "pending", 0), (-2, "running", 1), (until, "error", 1), thread=OTHER)
    told.mark("hoard", "h", "h", 0, -1)
    one_step(told, status="error")
    told.shows(["a.0"], "error")
    told.runs["a"].leases.append(LeaseChange(at(1), "a", 1, "host-1-nonce/1"))


@pytest.mark.parametrize(
    "tell",
    [one_step, beside_one_without_memory, beside_one_that_holds_all_memory_for_long, a_finished_step_is_shown_until_a_run_leaves_a_checkpoint, question, a_cancel_is_obeyed, a_cancel_in_the_queue_is_obeyed, a_strategy_takes_the_place,
     a_run_is_not_due_yet,
     a_question_is_answered, a_zombie_stops_soon,
     a_zombie_is_blocked_when_its_process_goes_on, a_mark_was_in_flight, its_worker_was_gone, redis_was_away,
     the_api_could_not_reach_redis],
)  # fmt: skip
def test_in_a_sound_history_nothing_is_found(tell: Tell) -> None:
    told = Told()
    tell(told)
    assert told.found() == set()


# Broken ones


def a_finished_step_is_shown_behind_a_checkpoint(told: Told) -> None:
    a_finished_step_is_shown_until_a_run_leaves_a_checkpoint(told)
    told.run("c", Work(1, 0.1, 0), (6, "pending", 0), (7, "running", 1), (9, "success", 1))
    told.step("c", "c", 0, 7.2, 8)


def a_run_that_is_due_is_passed_over(told: Told) -> None:
    a_run_is_not_due_yet(told, due=1)


def a_pending_run_vanishes(told: Told) -> None:
    waits(told, "gone")


def a_pending_run_is_interrupted_by_nobody(told: Told) -> None:
    waits(told, "interrupted")


def a_refused_cancel_interrupts(told: Told) -> None:
    waits(told, "interrupted")
    told.cancel("a", "interrupt", 0.5, 0.6, accepted=False)
    told.record.cancelled[0].refused = True


def an_earlier_strategy_interrupts(told: Told) -> None:
    told.run(
        "b",
        Work(0, 0.1, 0),
        (0, "pending", 0),
        (0.2, "running", 1),
        (0.5, "success", 1),
        strategy="interrupt",
    )
    told.run("a", Work(1, 0.1, 0), (1, "pending", 0), (2, "interrupted", 0))


def a_run_that_is_on_is_interrupted_by_nobody(told: Told) -> None:
    one_step(told, status="interrupted", error=STOPPED)


def an_interrupt_rolls_back(told: Told) -> None:
    waits(told, "gone")
    told.cancel("a", "interrupt", 0.9, 1.2)


def success_without_an_attempt(told: Told) -> None:
    waits(told, "success")


def success_without_a_step(told: Told) -> None:
    one_step(told)
    told.marks.clear()


def no_memory_and_success(told: Told) -> None:
    one_step(told, work=Work(1, 0.1, 0, harm="hoard"))


def others_have_no_memory(told: Told) -> None:
    beside_one_without_memory(told, pid=2)


def memory_was_given_back(told: Told) -> None:
    beside_one_that_holds_all_memory_for_long(told, until=0.5)


def an_answer_fails_for_nothing(told: Told) -> None:
    question(told)
    told.run("answer", None, (4, "pending", 0), (5, "running", 1), (9, "error", 1))


def a_cancel_that_waited_is_not_obeyed(told: Told) -> None:
    one_step(told)
    told.cancel("a", "rollback", 1.5, 3.1)


def a_rollback_is_kept_at_the_second_try(told: Told) -> None:
    one_step(told, status="interrupted", error=STOPPED)
    told.cancel("a", "rollback", 1.5, 1.6, accepted=False)
    told.cancel("a", "rollback", 2.1, 2.4)


def two_overlap(told: Told) -> None:
    told.run("a", Work(1, 0.1, 0), (0, "pending", 0), (1, "running", 1), (2, "success", 1))
    told.run("b", Work(1, 0.1, 0), (0.5, "pending", 0), (2.1, "running", 1), (4, "success", 1))
    told.step("a", "a", 0, 1.2, 1.8)
    told.step("b", "b", 0, 2.3, 3.7)
    told.mark("start", "a", "a", 1, 3.0)


def a_stopped_run_goes_on(told: Told) -> None:
    a_cancel_is_obeyed(told)
    told.mark("start", "a", "a", 1, 3.1)
    told.mark("end", "a", "a", 1, 3.4)


def a_zombie_ends_its_step_late(told: Told) -> None:
    a_zombie_stops_soon(told)
    told.mark("end", "a", "a", 0, 9)


def a_zombie_goes_on_after_it_was_blocked(told: Told) -> None:
    a_zombie_is_blocked_when_its_process_goes_on(told)
    told.mark("end", "a", "a", 0, 7 + BLOCK_SECS + 3.2)


def a_zombie_goes_on_though_a_stop_shortened_its_block(told: Told) -> None:
    """It was stopped in the midst of the block, which was over by the time the process went on."""
    a_zombie_stops_soon(told)
    told.mark("block", "other", "other", 0, 2)
    told.freezes.append(Freeze(1, at(4), at(7)))
    told.mark("end", "a", "a", 0, 7 + BLOCK_SECS + 0.1)


def an_answer_does_nothing(told: Told) -> None:
    question(told)
    answer(told, 0)


def an_answer_does_half(told: Told) -> None:
    question(told)
    answer(told, 1)


def a_question_is_not_shown(told: Told) -> None:
    question(told)
    told.shows(["q.0"])


def a_thread_shows_old_values(told: Told) -> None:
    """Its worker is gone, and no fault has taken it."""
    its_worker_was_gone(told)
    told.struck.clear()


def a_stream_ends_early(told: Told) -> None:
    one_step(told)
    told.streams["a"] = [Streamed(1, n, "custom", {"label": "a", "step": 0, "n": n}) for n in range(2)]
    told.record.followed.append(Followed("a", [("1-0", "custom", told.streams["a"][0].data)], 1, ended=True))


def a_stream_ends_early_for_a_moment_of_redis(told: Told) -> None:
    a_stream_ends_early(told)
    told.struck.append(Struck("network: api to valkey is cut for a moment", at(2), at(2), "2 connections"))
    told.struck.append(Struck("network: worker to valkey is cut", at(2), at(9), "2 connections"))


def events_are_missing(told: Told) -> None:
    one_step(told)
    told.streams["a"] = [Streamed(1, 1, "custom", {"label": "a", "step": 0, "n": 1})]
    told.struck.append(Struck("Redis: hangs", at(60), at(62), "Redis"))


def a_drain_fails(told: Told) -> None:
    one_step(told)
    service = cast(Service, type("Ended", (), {"name": "worker", "pid": 17, "log": ["began"]}))
    told.deaths.append(Death(service, 1, at(2), meant=True, told=True))


OUTCOMES = "outcomes are what the graph did"
STEPS = "successful runs did their steps"
CANCELS = "accepted cancels are obeyed"
ENDED = "nothing goes on when its worker has ended an attempt"
STATUSES = "statuses are what the runs say"
VALUES = "values are what the runs made"
BROKEN: list[tuple[str, Tell]] = [
    ("threads run in order", a_run_that_is_due_is_passed_over),
    (OUTCOMES, a_pending_run_vanishes),
    (OUTCOMES, a_pending_run_is_interrupted_by_nobody),
    (OUTCOMES, a_refused_cancel_interrupts),
    (OUTCOMES, an_earlier_strategy_interrupts),
    (OUTCOMES, a_run_that_is_on_is_interrupted_by_nobody),
    (OUTCOMES, an_interrupt_rolls_back),
    (OUTCOMES, success_without_an_attempt),
    (OUTCOMES, no_memory_and_success),
    (OUTCOMES, others_have_no_memory),
    (OUTCOMES, memory_was_given_back),
    (OUTCOMES, an_answer_fails_for_nothing),
    (STEPS, success_without_an_attempt),
    (STEPS, success_without_a_step),
    (STEPS, an_answer_does_nothing),
    (STEPS, an_answer_does_half),
    (CANCELS, a_cancel_that_waited_is_not_obeyed),
    (CANCELS, a_rollback_is_kept_at_the_second_try),
    ("no two runs of a thread overlap", two_overlap),
    (ENDED, two_overlap),
    (ENDED, a_stopped_run_goes_on),
    ("zombies stop soon", a_zombie_ends_its_step_late),
    ("zombies stop soon", a_zombie_goes_on_after_it_was_blocked),
    ("zombies stop soon", a_zombie_goes_on_though_a_stop_shortened_its_block),
    (VALUES, an_answer_does_half),
    (VALUES, a_finished_step_is_shown_behind_a_checkpoint),
    (VALUES, a_thread_shows_old_values),
    (STATUSES, a_question_is_not_shown),
    (STATUSES, a_thread_shows_old_values),
    ("attempts leave no gaps", events_are_missing),
    ("resumed streams are complete", a_stream_ends_early),
    ("resumed streams are complete", a_stream_ends_early_for_a_moment_of_redis),
    ("services end only when they are told to", a_drain_fails),
]


@pytest.mark.parametrize(
    ("check", "tell"), BROKEN, ids=[f"{tell.__name__}-{check}" for check, tell in BROKEN]
)
def test_a_broken_promise_is_found(check: str, tell: Tell) -> None:
    told = Told()
    tell(told)
    assert check in told.found()


def test_leases_tell_the_process_of_their_worker() -> None:
    assert LeaseChange(BEGIN, "a", 1, f"{worker_name()}/7").pid == os.getpid()


def test_a_round_that_was_not_as_usual_is_played_again_as_it_was() -> None:
    assert replay(7, Scale()) == "make chaos SEED=7"
    scale = Scale(threads=40, load_secs=8, outage_secs=6)
    assert replay(7, scale, calm=True) == "make chaos SEED=7 ARGS='--threads 40 --secs 8 --outage 6 --calm'"


@pytest.mark.parametrize(("place", "accepted"), [("cancel", False), ("join", True)])
def test_a_cancel_whose_answer_broke_off_was_accepted_though_the_run_is_gone(
    place: str, accepted: bool
) -> None:
    request = httpx.Request("GET", f"http://api/threads/t/runs/r/{place}")
    error = httpx.HTTPStatusError("gone", request=request, response=httpx.Response(404, request=request))
    assert was_told_where_to_wait(error) is accepted
