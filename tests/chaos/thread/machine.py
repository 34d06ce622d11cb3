"""The machine: a thread, its clients, workers, messages and clock, in any order that Hypothesis can think of.

To look, to step and to finish are rules of their own, for any number of workers, so that every interleaving of the protocol's
transactions can come up. A worker that falls silent is one that no rule picks; when one picks it again, it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.chaos.thread.bench import Bench
from tests.chaos.thread.operations import Beat, Cancel, DeleteRun
from tests.chaos.thread.scene import MINUTE, Scene

# No sum of these is close to a lease or a delay: how fast the machine is makes no difference.
PASSES = (25 * MINUTE, 61 * MINUTE)
DELAYS = (0.0, 0.0, 0.0, 30 * MINUTE, 90 * MINUTE)

whiches = st.integers(0, 5)
strategies = st.sampled_from(["enqueue", "enqueue", "interrupt", "rollback", "reject"])
plans = st.sampled_from(["plain", "plain", "ask", "ask twice", "fail", None])
actions = st.sampled_from(["interrupt", "rollback"])


class ThreadMachine(RuleBasedStateMachine):
    """What can happen to a thread, one thing after the other."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(self.bench)
        # Whether all was well after the last rule: only then it is worth coming to rest.
        self.sound = False

    def play(self, act: Coroutine[Any, Any, Any]) -> None:
        self.sound = False
        self.loop.run_until_complete(act)

    @initialize(asked=st.booleans())
    def begin(self, asked: bool) -> None:
        self.play(self.scene.begin(asked=asked))

    # Clients

    @rule(strategy=strategies, plan=plans, delay=st.sampled_from(DELAYS), webhook=st.booleans())
    def create(self, strategy: str, plan: str | None, delay: float, webhook: bool) -> None:
        self.play(self.scene.do(self.scene.new(strategy, plan, delay, webhook)))

    @precondition(lambda self: self.scene.model.status == "interrupted")
    @rule()
    def answer(self) -> None:
        """The thread has a question."""
        self.play(self.scene.do(self.scene.new("enqueue", None)))

    @precondition(lambda self: self.scene.model.running)
    @rule(action=actions)
    def cancel_running(self, action: str) -> None:
        running = self.scene.model.running
        assert running is not None
        self.play(self.scene.do(Cancel(running.run_id, action)))

    @precondition(lambda self: self.scene.asked)
    @rule(which=whiches, action=actions)
    def cancel(self, which: int, action: str) -> None:
        self.play(self.scene.do(Cancel(self.scene.run_id(which), action)))

    @precondition(lambda self: self.scene.asked)
    @rule(which=whiches)
    def delete_run(self, which: int) -> None:
        self.play(self.scene.do(DeleteRun(self.scene.run_id(which))))

    # Messages

    @precondition(lambda self: self.scene.wakeups.on_their_way)
    @rule()
    def deliver(self) -> None:
        """A worker pulls a wake-up; it may take its time to look."""
        self.play(self.scene.wakeups.pull())

    @precondition(lambda self: self.scene.wakeups.held)
    @rule(which=whiches)
    def deliver_again(self, which: int) -> None:
        """Nobody acknowledged it for too long. Whoever has it may be dead, or only slow."""
        held = self.scene.wakeups.held
        self.play(self.scene.wakeups.come_again(held[which % len(held)]))

    @precondition(lambda self: self.scene.unseen)
    @rule(which=whiches)
    def lose(self, which: int) -> None:
        """JetStream forgets a message that it has acknowledged."""
        unseen = self.scene.unseen
        self.play(self.scene.wakeups.lose(unseen[which % len(unseen)]))

    @precondition(lambda self: self.scene.model.next)
    @rule()
    def duplicate(self) -> None:
        self.play(self.scene.tell_again())

    @rule()
    def sweep(self) -> None:
        self.play(self.scene.sweep())

    # Workers

    @precondition(lambda self: self.scene.wakeups.on_their_way)
    @rule()
    def pull_and_look(self) -> None:
        self.play(self.scene.pull_and_look())

    @precondition(lambda self: self.scene.wakeups.on_their_way)
    @rule()
    def serve(self) -> None:
        """All at once what the rules below do step by step, to come to states that are further on."""
        self.play(self.scene.serve())

    @precondition(lambda self: self.scene.held_hands)
    @rule(which=whiches)
    def take_over(self, which: int) -> None:
        """A worker has been silent for longer than its lease; its message brings another. It may come back yet."""
        held = self.scene.held_hands
        self.play(self.scene.take_over(held[which % len(held)]))

    @precondition(lambda self: self.scene.unseen)
    @rule(which=whiches)
    def look(self, which: int) -> None:
        unseen = self.scene.unseen
        self.play(self.scene.look(unseen[which % len(unseen)]))

    @precondition(lambda self: self.scene.at_work)
    @rule(which=whiches)
    def step(self, which: int) -> None:
        at_work = self.scene.at_work
        self.play(self.scene.step(at_work[which % len(at_work)]))

    @precondition(lambda self: self.scene.at_work)
    @rule(which=whiches)
    def run_to_the_end(self, which: int) -> None:
        at_work = self.scene.at_work
        self.play(self.scene.run_to_the_end(at_work[which % len(at_work)]))

    @precondition(lambda self: self.scene.at_work)
    @rule(which=whiches)
    def time_out(self, which: int) -> None:
        at_work = self.scene.at_work
        self.play(self.scene.stop(at_work[which % len(at_work)], "timeout"))

    @precondition(lambda self: self.scene.cancelled)
    @rule()
    def heed_cancel(self) -> None:
        """The signal has reached the worker."""
        self.play(self.scene.stop(self.scene.cancelled[0], "interrupted"))

    @precondition(lambda self: self.scene.ready)
    @rule(which=whiches, claim_next=st.sampled_from([True, True, False]))
    def finish(self, which: int, claim_next: bool) -> None:
        ready = self.scene.ready
        self.play(self.scene.finish(ready[which % len(ready)], claim_next=claim_next))

    @precondition(lambda self: self.scene.at_work)
    @rule(which=whiches)
    def hand_back(self, which: int) -> None:
        at_work = self.scene.at_work
        self.play(self.scene.hand_back(at_work[which % len(at_work)]))

    @precondition(lambda self: self.scene.hands)
    @rule(which=whiches)
    def beat(self, which: int) -> None:
        hands = self.scene.hands
        self.play(self.scene.do(Beat(hands[which % len(hands)].run)))

    @precondition(lambda self: self.scene.hands)
    @rule(which=whiches, seen=st.booleans())
    def die(self, which: int, seen: bool) -> None:
        """Its message comes again, in time."""
        hands = self.scene.hands
        self.play(self.scene.die(hands[which % len(hands)], seen=seen))

    @precondition(lambda self: self.scene.left_alone)
    @rule()
    def look_alone(self) -> None:
        self.play(self.scene.look_alone(self.scene.left_alone[0]))

    # The clock

    @rule(secs=st.sampled_from(PASSES))
    def let_pass(self, secs: float) -> None:
        self.play(self.scene.let_pass(secs))

    @precondition(lambda self: self.scene.come_due)
    @rule()
    def tell_of_due(self) -> None:
        self.play(self.scene.tell_of_due())

    # What holds after each of them, and in the end

    @invariant()
    def agrees(self) -> None:
        self.play(self.scene.check())
        self.sound = True

    def teardown(self) -> None:
        try:
            if self.sound:
                self.play(self.scene.come_to_rest())
        finally:
            self.play(self.scene.clear_away())
