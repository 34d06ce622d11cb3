"""Rounds of moves one after the other, and then of several at the same moment.

All is drawn beforehand, not as it goes: who wins a race is not for Hypothesis to say, so what it draws must not depend on it.
A move that is not possible when its turn comes is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from tests.chaos.thread.hand import Hand
from tests.chaos.thread.machine import PASSES, actions, plans, strategies, whiches
from tests.chaos.thread.operations import (
    Beat,
    Cancel,
    ClaimNext,
    DeleteRun,
    Finish,
    HandBack,
    Operation,
)
from tests.chaos.thread.scene import Scene
from treadle_worker.endings import Ended

T = TypeVar("T")


class Move(NamedTuple):
    """What somebody does, to which of what there is, and how."""

    what: str
    which: int
    strategy: str
    plan: str | None
    action: str


class Round(NamedTuple):
    before: list[Move]
    at_once: list[Move]


def moves(*whats: str) -> st.SearchStrategy[Move]:
    return st.builds(Move, st.sampled_from(whats), whiches, strategies, plans, actions)


SERIAL = (
    "create",
    "look",
    "look",
    "step",
    "step",
    "finish",
    "hand back",
    "die",
    "deliver again",
    "take over",
    "serve",
    "pass",
    "pass less",
)
AT_ONCE = ("create", "cancel", "delete", "claim", "claim", "finish", "finish", "hand back", "beat")

rounds = st.lists(
    st.builds(Round, st.lists(moves(*SERIAL), max_size=6), st.lists(moves(*AT_ONCE), min_size=2, max_size=4)),
    min_size=1,
    max_size=8,
)


async def play(scene: Scene, several: Sequence[Round], *, asked: bool) -> None:
    """Round after round, and then to rest; everything is checked after each race. `asked`: as in `Scene.begin`."""
    await scene.begin(asked=asked)
    await scene.bench.linger(wanted=True)
    try:
        for each in several:
            for move in each.before:
                await _move(scene, move)
            await scene.check()
            racing = [operation for move in each.at_once if (operation := await _operation(scene, move))]
            await scene.race(racing)
            await scene.check()
        await scene.come_to_rest()
    finally:
        await scene.bench.linger(wanted=False)
        await scene.clear_away()


async def _move(scene: Scene, move: Move) -> None:
    match move.what:
        case "create":
            await scene.do(scene.new(move.strategy, move.plan))
        case "look" if delivery := _one(scene.left_alone, move):
            await scene.look_alone(delivery)
        case "look" if scene.wakeups.on_their_way:
            await scene.pull_and_look()
        case "serve" if scene.wakeups.on_their_way:
            await scene.serve()
        case "take over" if hand := _one(scene.held_hands, move):
            await scene.take_over(hand)
        case "step" if hand := _one(scene.at_work, move):
            await scene.step(hand)
        case "finish" if hand := _one(scene.at_work, move):
            await scene.run_to_the_end(hand)
        case "hand back" if hand := _one(scene.at_work, move):
            await scene.hand_back(hand)
        case "die" if hand := _one(scene.hands, move):
            await scene.die(hand, seen=move.action == "interrupt")
        case "deliver again" if delivery := _one(scene.wakeups.held, move):
            await scene.wakeups.come_again(delivery)
        case "pass" | "pass less":
            await scene.let_pass(PASSES[move.what == "pass"])
        case _:
            return


async def _operation(scene: Scene, move: Move) -> Operation | None:
    """A move as one transaction; None: there is nobody to make it."""
    match move.what:
        case "create":
            return scene.new(move.strategy, move.plan)
        case "claim" if scene.wakeups.on_their_way:
            return ClaimNext(await scene.wakeups.pull())
        case "cancel" | "delete" if scene.asked:
            run_id = scene.run_id(move.which)
            return Cancel(run_id, move.action) if move.what == "cancel" else DeleteRun(run_id)
        case _:
            return _of_worker(scene, move)


def _of_worker(scene: Scene, move: Move) -> Operation | None:
    """What a worker does with a run that it has."""
    hand = _one(scene.hands, move)
    match move.what, hand:
        case "beat", Hand(run=run):
            return Beat(run)
        case "hand back", Hand(run=run, ended=None):
            return HandBack(run)
        case "finish", Hand(run=run, ended=Ended(outcome)):
            return Finish(run, outcome, lease=hand.lease)
        case _:
            return None


def _one(several: Sequence[T], move: Move) -> T | None:
    return several[move.which % len(several)] if several else None
