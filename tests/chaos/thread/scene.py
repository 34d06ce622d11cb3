"""A thread with everybody who has to do with it: what each of them does, on the product and on the model alike.

Workers are played step by step, as `treadle_worker.slot` and `treadle_worker.execution` go about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from tests.chaos.thread.bench import LEASE, Bench, lease_alone
from tests.chaos.thread.facts import Facts, expected, look
from tests.chaos.thread.hand import Hand, decoded
from tests.chaos.thread.model import LEASE_SECS, ThreadModel
from tests.chaos.thread.operations import ClaimNext, Create, Finish, HandBack, Operation, TestifyDeath
from tests.chaos.thread.serial import serial
from tests.chaos.thread.wakeups import Wakeups
from treadle.checkpoint.state import interrupts_of, readable_state
from treadle.db.runs import Lease
from treadle.db.scope import EVERYWHERE
from treadle.messaging.wakeups import Delivery, Source
from treadle.model import Run
from treadle_scheduler.sweeper import Leaseless, Untold, Waking
from treadle_worker.endings import Ended, Lost

MINUTE = 60.0
# More than any lease or delay.
LONG = 100 * MINUTE
SWEPT = 100
# In the end, between two passes of time: more than any number of messages and runs of one life.
MOST_LOOKS = 200


class Scene:
    """One thread from its beginning to its rest."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.model = ThreadModel()
        self.wakeups = Wakeups(bench)
        self.hands: list[Hand] = []
        # Every run that was asked for, also those that are gone.
        self.asked: list[UUID] = []
        self._seen: list[Delivery] = []
        # Messages whose worker is about to start a process for the thread's next run.
        self.left_alone: list[Delivery] = []
        self._alone = 0
        self._plans: dict[UUID, str | None] = {}
        # Delayed runs of which nobody has been told that they are due.
        self._untold: set[UUID] = set()
        # What was done on the thread before a run began, where that is known.
        self._log_before: dict[UUID, list[str]] = {}
        self._facts: Facts | None = None

    # Who is there

    @property
    def unseen(self) -> list[Delivery]:
        """Messages with which their worker has not looked yet."""
        return [each for each in self.wakeups.held if not any(each is seen for seen in self._seen)]

    @property
    def held_hands(self) -> list[Hand]:
        """Those whose message nobody else has."""
        return [hand for hand in self.hands if any(hand.delivery is each for each in self.wakeups.held)]

    @property
    def at_work(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.ended is None]

    @property
    def ready(self) -> list[Hand]:
        """Their graphs have come to an end, and nobody has written that yet."""
        return [hand for hand in self.hands if hand.ended is not None]

    @property
    def cancelled(self) -> list[Hand]:
        """Whom a signal reaches: their run is cancelled, or gone."""
        found = [(hand, self.model.find(hand.run.run_id)) for hand in self.at_work]
        return [hand for hand, run in found if run is None or run.cancel is not None]

    @property
    def come_due(self) -> list[UUID]:
        """Delayed runs whose time has come, and of which nobody has been told."""
        runs = [self.model.find(run_id) for run_id in self._untold]
        return [run.run_id for run in runs if run is not None and run.active and run.due <= self.model.now]

    def run_id(self, which: int) -> UUID:
        """One of those that were asked for; the newest are the most interesting."""
        return self.asked[-1 - which % len(self.asked)]

    # What is done

    async def begin(self, *, asked: bool) -> None:
        """A new thread; `asked`: one with a question, after which the same step asks again."""
        await self.bench.new_thread()
        if asked:
            await self.do(self.new("enqueue", "ask twice"))
            await self.serve()

    def new(self, strategy: str, plan: str | None, delay: float = 0.0, webhook: bool = False) -> Create:
        new = Create(strategy, plan, delay, webhook)
        self.asked.append(new.run_id)
        self._plans[new.run_id] = plan
        return new

    async def do(self, operation: Operation) -> Any:
        """Do it on both sides; the answers must be the same."""
        answer = await operation.act(self.bench)
        assert answer == operation.expect(self.model), operation
        self._announced(operation, answer)
        return answer

    def _announced(self, operation: Operation, answer: Any) -> None:
        """The API publishes a wake-up for a run that it has accepted; of a delayed one nobody is told yet."""
        if answer == "deleted":
            self._log_before.clear()  # of what is on the thread it is not known any more who will find it
        if isinstance(operation, Create) and answer == "created":
            if operation.delay_secs:
                self._untold.add(operation.run_id)
            else:
                self.wakeups.fresh += 1

    async def look(self, delivery: Delivery, lease: Lease = LEASE) -> None:
        """A worker looks at the thread, since a message says so."""
        claim = ClaimNext(delivery, lease)
        answer = await self.do(claim)
        await self._looked(delivery, claim, answer.outcome)

    async def _looked(self, delivery: Delivery, claim: ClaimNext, outcome: str) -> None:
        self._seen.append(delivery)
        if claim.taken is not None:
            self._take(claim.taken, delivery, claim.lease)
        elif outcome == "solitary":
            self.left_alone.append(delivery)
        elif claim.lease.alone:
            await self.wakeups.come_again(delivery)
        elif outcome != "leased" or not delivery.redelivered:
            await self.wakeups.ack(delivery)
        # Else it is early, not stale, and comes again when the lease is over.

    async def pull_and_look(self) -> None:
        await self.look(await self.wakeups.pull())

    async def serve(self) -> None:
        """A worker takes a run and brings it to its end."""
        hands = len(self.hands)
        await self.pull_and_look()
        for hand in self.hands[hands:]:
            await self.run_to_the_end(hand)
            await self.finish(hand, claim_next=True)

    async def take_over(self, hand: Hand) -> None:
        """The lease and the patience of JetStream are over: somebody else looks."""
        await self.let_pass(2 * LEASE_SECS)
        await self.wakeups.come_again(hand.delivery)
        await self.pull_and_look()

    async def look_alone(self, delivery: Delivery) -> None:
        """The process that a worker has started for a solitary run looks for it; the worker keeps the message."""
        self.left_alone.remove(delivery)
        self._alone += 1
        await self.look(delivery, lease_alone(f"alone-{self._alone}"))

    def _take(self, run: Run, delivery: Delivery, lease: Lease) -> None:
        self.hands.append(Hand(self.bench, run, delivery, lease))
        if run.attempt == 1 and self.model.truthful:
            self._log_before[run.run_id] = _log_of(self.model.values)

    async def step(self, hand: Hand) -> None:
        """Let the graph go on. No step whose checkpoint was committed begins again."""
        committed, begun = await self._log(), len(self.bench.begun)
        await hand.step()
        await self._see_what_is_kept(hand)
        entries = {f"{run_id} {step}" for run_id, step, _ in self.bench.begun[begun:]}
        assert not (self._on(hand) and entries & set(committed)), "what was committed begins again"
        self._see_whether_lost(hand)

    async def run_to_the_end(self, hand: Hand) -> None:
        while hand.ended is None:
            await self.step(hand)

    async def stop(self, hand: Hand, status: str) -> None:
        """Its worker breaks it off: it is cancelled, or has had its time."""
        await hand.stop(status)
        await self._see_what_is_kept(hand)
        self._see_whether_lost(hand)

    def _see_whether_lost(self, hand: Hand) -> None:
        """A worker that was refused has nothing more to do with the run."""
        if isinstance(hand.ended, Lost):
            assert not self._on(hand), "the newest attempt was refused"
            self.hands.remove(hand)

    def _on(self, hand: Hand) -> bool:
        return self.model.newest(hand.run.run_id, hand.run.attempt) is not None

    async def _see_what_is_kept(self, hand: Hand) -> None:
        """Checkpoints are the graph's doing, so the model takes them as they are, if this attempt may write them."""
        if self._on(hand):
            self.model.write(hand.run.run_id, (await look(self.bench.pool, self.bench.thread_id)).kept)

    async def finish(self, hand: Hand, *, claim_next: bool) -> None:
        """Write how it ended; a worker that drains does not take the next run."""
        if not isinstance(hand.ended, Ended):
            await self.hand_back(hand)
            return
        on, outcome = self._on(hand), hand.ended.outcome
        operation = Finish(hand.run, outcome, claim_next, hand.lease)
        answer = await self.do(operation)
        if on and outcome.status == "success":
            self._check_log(hand.run.run_id, decoded(outcome.values))
        await self._finished(hand, operation, answer.outcome)

    async def _finished(self, hand: Hand, finish: Finish, outcome: str) -> None:
        self.hands.remove(hand)
        if outcome == "fenced":
            return
        if finish.taken is not None:
            self._take(finish.taken, hand.delivery, hand.lease)
        elif outcome == "solitary":
            self.left_alone.append(hand.delivery)
        elif finish.claim_next and not hand.lease.alone:
            await self.wakeups.ack(hand.delivery)
        else:
            await self.wakeups.come_again(hand.delivery)

    async def hand_back(self, hand: Hand) -> None:
        """Its worker drains, or has lost Postgres for a moment."""
        await hand.let_go()
        await self._see_what_is_kept(hand)
        answer = await self.do(HandBack(hand.run))
        await self._handed_back(hand, answer.outcome)

    async def _handed_back(self, hand: Hand, outcome: str) -> None:
        self.hands.remove(hand)
        if outcome != "fenced":
            await self.wakeups.come_again(hand.delivery)

    async def die(self, hand: Hand, *, seen: bool = False) -> None:
        """`seen`: it was a process alone with its run, and the worker that started it lives, and says so."""
        await hand.let_go()
        await self._see_what_is_kept(hand)
        self.hands.remove(hand)
        if seen and hand.lease.alone:
            await self.do(TestifyDeath(hand.lease.worker))
            await self.wakeups.come_again(hand.delivery)

    async def let_pass(self, secs: float) -> None:
        await self.bench.let_pass(secs)
        self.model.now += secs
        self._facts = None

    async def tell_of_due(self) -> None:
        """The scheduler, or NATS, tells the workers of delayed runs."""
        for run_id in self.come_due:
            self._untold.discard(run_id)
            await self._tell(run_id, Source.DELAY, "")

    async def tell_again(self) -> None:
        """Somebody tells the workers of the next run once more."""
        assert self.model.next is not None
        nonce = f"again {len(self.model.events)} {self.wakeups.fresh}"
        await self._tell(self.model.next.run_id, Source.SWEEPER, nonce)

    async def _tell(self, run_id: UUID, source: Source, nonce: str) -> None:
        run = await self.bench.runs.get(EVERYWHERE, self.bench.thread_id, run_id)
        assert run is not None
        sent = await self.bench.publisher.send(run, source, nonce=nonce)
        assert sent is not None
        self.wakeups.fresh += not sent.duplicate

    async def sweep(self) -> None:
        """A round of the sweeper, which finds what has waited since time last passed."""
        waking = Waking(self.bench.publisher, self.bench.metrics)
        untold = Untold(self.bench.queue, waking, MINUTE, SWEPT)
        leaseless = Leaseless(self.bench.queue, waking, MINUTE, SWEPT)
        for duty in (untold, leaseless):
            self.wakeups.fresh += await duty.round()

    # At the same moment

    async def race(self, operations: Sequence[Operation]) -> None:
        """Operations that know nothing of each other; it must look as if one had come after the other."""
        answers = await asyncio.gather(*(each.act(self.bench) for each in operations))
        facts = await look(self.bench.pool, self.bench.thread_id)
        self.model = serial(self.model, operations, answers, facts)
        for operation, answer in zip(operations, answers, strict=True):
            self._announced(operation, answer)
            await self._after_race(operation, answer)

    async def _after_race(self, operation: Operation, answer: Any) -> None:
        """What a worker does with its answer."""
        match operation:
            case ClaimNext(delivery=delivery):
                await self._looked(delivery, operation, answer.outcome)
            case Finish(run=run):
                if (hand := self._hand_of(run)) is not None:
                    await self._finished(hand, operation, answer.outcome)
            case HandBack(run=run):
                if (hand := self._hand_of(run)) is not None:
                    await hand.let_go()
                    await self._handed_back(hand, answer.outcome)
            case _:
                return

    def _hand_of(self, run: Run) -> Hand | None:
        return next((hand for hand in self.hands if hand.run is run), None)

    # What holds

    async def check(self) -> None:
        """Postgres has what the model says, nothing of what is gone, and nobody is forgotten."""
        before, facts = self._facts, await look(self.bench.pool, self.bench.thread_id)
        assert facts.seen == expected(self.model)
        assert facts.kept == self.model.kept
        there = {run.run_id for run in self.model.runs}
        assert facts.kept.runs() <= there, "checkpoints or writes of a run that is gone"
        if before is not None:
            for what, moment in facts.moments.items():
                assert moment >= before.moments.get(what, moment), f"{what} was updated earlier than before"
        self._facts = facts
        self._check_looked_after()

    def _check_looked_after(self) -> None:
        """Where nothing was lost, whoever is due has a message on its way, or with somebody who will look."""
        due = [run for run in self.model.runs if run.active and run.due <= self.model.now]
        told = [run for run in due if run.run_id not in self._untold]
        assert not told or self.wakeups.unsettled or not self.wakeups.reliable, f"nobody looks at {told}"

    async def _log(self) -> list[str]:
        """What the newest checkpoint says was done."""
        found = await self.bench.savers.shared.aget_tuple(self._place)
        return [] if found is None else list(found.checkpoint["channel_values"].get("log", []))

    @property
    def _place(self) -> Any:
        return {"configurable": {"thread_id": str(self.bench.thread_id), "checkpoint_ns": ""}}

    def _check_log(self, run_id: UUID, values: Any) -> None:
        """What a run did stands once behind what was there before."""
        log, plan, before = _log_of(values), self._plans[run_id], self._log_before.get(run_id)
        assert len(set(log)) == len(log), log
        if plan is None or before is None:
            return
        steps = ["first"] if plan.startswith("ask") else ["first", "second", "third"]
        assert log == [*before, *(f"{run_id} {step}" for step in steps)]

    # The end

    async def come_to_rest(self) -> None:
        """All workers die, and after them whoever comes finds all there is to do, in bounded time."""
        for hand in [*self.hands]:
            await self.die(hand)
        for _ in range(3 + 3 * len(self.model.runs)):
            if self.model.status != "busy" and not self.wakeups.unsettled:
                break
            await self.let_pass(LONG)
            await self._work_off()
        await self.check()
        assert self.model.status != "busy", "it did not come to rest"
        assert await self.bench.waiting() == 0, "a message was left behind"
        if self.model.truthful:
            await self._check_truth()

    async def _work_off(self) -> None:
        """One worker works at whatever it is told of; where messages were lost, the sweeper finds the rest."""
        await self.tell_of_due()
        if not self.wakeups.reliable:
            await self.sweep()
        for delivery in [*self.wakeups.held]:
            await self.wakeups.come_again(delivery)
        looks = 0
        while self.wakeups.on_their_way:
            assert (looks := looks + 1) < MOST_LOOKS, "looks without end"
            await self.pull_and_look()
            if self.left_alone:
                await self.look_alone(self.left_alone[0])
            while self.hands:
                await self.run_to_the_end(self.hands[0])
                await self.finish(self.hands[0], claim_next=True)

    async def _check_truth(self) -> None:
        """What the thread shows is what its checkpoints say."""
        graph = self.bench.graph.copy({"checkpointer": self.bench.savers.shared})
        snapshot = await readable_state(graph, self._place)
        assert (self.model.values or {}) == snapshot.values
        assert self.model.interrupts == interrupts_of(snapshot)
        if self.model.resting != "error":
            assert self.model.resting == ("interrupted" if snapshot.next else "idle")

    async def clear_away(self) -> None:
        for hand in self.hands:
            await hand.let_go()
        await self.bench.clear_away()


def _log_of(values: Any) -> list[str]:
    return cast("list[str]", [] if values is None else values.get("log", []))
