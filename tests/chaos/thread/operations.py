"""The operations of a thread, each with its two sides: what the product does, and what the model expects of it.

Each is one transaction. So whatever happens at the same time must look as if one had come after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

from tests.chaos.thread.bench import LEASE, Bench
from tests.chaos.thread.graph import GRAPH_ID
from tests.chaos.thread.hand import decoded, error_of
from tests.chaos.thread.model import Answer, Claimant, Left, ModelRun, ThreadModel
from treadle.db.runs import HEARTBEAT, Claim, Lease, Outcome
from treadle.db.scope import EVERYWHERE
from treadle.errors import Conflict
from treadle.messaging.wakeups import Delivery
from treadle.model import CancelAction, MultitaskStrategy, Run
from treadle.operations.asking import Asking
from treadle.wire.runs import Command, NewRun

WEBHOOK = "https://example.com/webhook"


class Operation(Protocol):
    async def act(self, bench: Bench) -> Any:
        """Do it; returns the product's answer, in the words of the model."""
        ...

    def expect(self, model: ThreadModel) -> Any:
        """Do it to the model; returns the answer that is right."""
        ...


@dataclass
class Create:
    """A client asks for a run: with an input that says what the graph does, or, without a plan, an answer."""

    strategy: str
    plan: str | None = "plain"
    delay_secs: float = 0.0
    webhook: bool = False
    run_id: UUID = field(default_factory=uuid4)

    async def act(self, bench: Bench) -> str:
        given: dict[str, Any] = (
            {"command": Command(resume="an answer")}
            if self.plan is None
            else {"input": {"plan": [self.plan], "log": []}}
        )
        body = NewRun(
            assistant_id=GRAPH_ID,
            multitask_strategy=MultitaskStrategy(self.strategy),
            after_seconds=self.delay_secs or None,
            webhook=WEBHOOK if self.webhook else None,
            durability="sync",
            **given,
        )
        try:
            await bench.creation.create(Asking(), self.run_id, bench.thread_id, body, stateless=False)
        except Conflict:
            return "refused"
        return "created"

    def expect(self, model: ThreadModel) -> str:
        new = ModelRun(self.run_id, model.now + self.delay_secs, self.webhook, answers=self.plan is None)
        return model.create(new, self.strategy)


@dataclass
class Cancel:
    run_id: UUID
    action: str

    async def act(self, bench: Bench) -> str:
        cancelled = await bench.runs.cancel(
            EVERYWHERE, bench.thread_id, self.run_id, CancelAction(self.action)
        )
        return cancelled.outcome

    def expect(self, model: ThreadModel) -> str:
        return model.cancel(self.run_id, self.action)


@dataclass
class DeleteRun:
    run_id: UUID

    async def act(self, bench: Bench) -> str:
        return await bench.runs.delete(EVERYWHERE, bench.thread_id, self.run_id)

    def expect(self, model: ThreadModel) -> str:
        return model.delete_run(self.run_id)


@dataclass
class ClaimNext:
    """A worker looks at the thread, since a message says so. `taken`: the run that it got."""

    delivery: Delivery
    lease: Lease = LEASE
    taken: Run | None = None

    async def act(self, bench: Bench) -> Answer:
        claim = await bench.runs.claim(bench.thread_id, self.lease)
        self.taken = claim.run
        return _answer(claim)

    def expect(self, model: ThreadModel) -> Answer:
        return model.claim(Claimant(self.lease.worker, self.lease.alone))


@dataclass
class Finish:
    """A worker writes how its attempt ended, and takes the next run."""

    run: Run
    outcome: Outcome
    claim_next: bool = True
    lease: Lease = LEASE
    taken: Run | None = None

    async def act(self, bench: Bench) -> Answer:
        claim = await bench.runs.finish(self.run, self.outcome, self.lease, claim_next=self.claim_next)
        self.taken = claim.run
        return _answer(claim)

    def expect(self, model: ThreadModel) -> Answer:
        left = Left(
            self.outcome.status,
            self.outcome.resting,
            error_of(self.outcome),
            decoded(self.outcome.values),
            decoded(self.outcome.interrupts),
        )
        who = Claimant(self.lease.worker, self.lease.alone) if self.claim_next else None
        return model.finish(self.run.run_id, self.run.attempt, left, who)


@dataclass
class HandBack:
    run: Run

    async def act(self, bench: Bench) -> Answer:
        return _answer(await bench.runs.hand_back(self.run))

    def expect(self, model: ThreadModel) -> Answer:
        return model.hand_back(self.run.run_id, self.run.attempt)


@dataclass
class Beat:
    """A heartbeat of a worker."""

    run: Run

    async def act(self, bench: Bench) -> tuple[bool, str | None]:
        rows = await bench.pool.fetch(
            HEARTBEAT, [self.run.run_id], [self.run.attempt], timedelta(seconds=LEASE.secs)
        )
        return (True, rows[0]["cancel_action"]) if rows else (False, None)

    def expect(self, model: ThreadModel) -> tuple[bool, str | None]:
        return model.heartbeat(self.run.run_id, self.run.attempt)


@dataclass
class TestifyDeath:
    """A worker has seen the process die that it started for a solitary run."""

    worker: str

    async def act(self, bench: Bench) -> bool:
        return await bench.runs.died_alone(bench.thread_id, self.worker) is not None

    def expect(self, model: ThreadModel) -> bool:
        return model.died_alone(self.worker)


def _answer(claim: Claim) -> Answer:
    taken = None if claim.run is None else (claim.run.run_id, claim.run.attempt)
    return Answer(
        claim.outcome, taken, tuple((ended.run_id, ended.status, ended.attempt) for ended in claim.ended)
    )
