"""The protocol's steps as workers and API take them, without either: the statements alone."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.queue import Queue
from treadle.db.runs import Claim, Created, Lease, Outcome, Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.model import CancelAction, MultitaskStrategy, Run, RunStatus, Thread

# Long enough for a statement to have come back, had nothing held it.
HELD_SECS = 0.3
SUCCESS = Outcome(status="success", resting="idle", output=b'{"a":1}', values=b'{"a":1}', interrupts=b"{}")


class Bench:
    """The protocol's steps on one thread, as workers and API take them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.runs = Runs(pool)
        self.queue = Queue(pool)
        self.threads = Threads(pool)
        self.thread_id = uuid4()
        self.lease = Lease("worker", secs=30, max_crashes=3)

    def new(self, **fields: Any) -> NewRun:
        known: dict[str, Any] = {
            "run_id": uuid4(),
            "thread_id": self.thread_id,
            "assistant_id": uuid4(),
            "graph_id": "agent",
            "kwargs": {"input": {"a": 1}},
            "if_not_exists": "create",
        }
        return NewRun(**{**known, **fields})

    async def ask(self, strategy: MultitaskStrategy = MultitaskStrategy.ENQUEUE, **fields: Any) -> Created:
        return await self.runs.create(self.new(strategy=strategy, **fields))

    async def create(self, strategy: MultitaskStrategy = MultitaskStrategy.ENQUEUE, **fields: Any) -> Run:
        created = await self.ask(strategy, **fields)
        assert created.run is not None, created
        return created.run

    async def claim(self) -> Claim:
        return await self.runs.claim(self.thread_id, self.lease)

    async def claimed(self) -> Run:
        return taken(await self.claim())

    async def claimed_alone(self) -> Run:
        """As the process that has the run for itself claims it."""
        return taken(await self.runs.claim(self.thread_id, replace(self.lease, worker="alone", alone=True)))

    async def die_alone(self) -> None:
        """The process that makes a solitary attempt has died, and its worker says so."""
        assert await self.runs.died_alone(self.thread_id, "alone") is not None

    async def lose_all_workers(self) -> None:
        """As often as it takes for a run to be given up with the next claim."""
        for _ in range(self.lease.max_crashes - 1):
            await self.end_lease(await self.claimed())
        assert (await self.claim()).outcome == "solitary"
        await self.claimed_alone()
        await self.die_alone()

    async def finish(self, run: Run, outcome: Outcome = SUCCESS, *, claim_next: bool = True) -> Claim:
        return await self.runs.finish(run, outcome, self.lease, claim_next=claim_next)

    async def hand_back(self, run: Run) -> Claim:
        return await self.runs.hand_back(run)

    async def cancel(self, run: Run, action: CancelAction = CancelAction.INTERRUPT) -> tuple[str, str | None]:
        cancelled = await self.runs.cancel(EVERYWHERE, self.thread_id, run.run_id, action)
        return cancelled.outcome, cancelled.status

    async def end_lease(self, run: Run) -> None:
        """As if the run's worker had been silent for too long."""
        ended = "update treadle.lease set lease_until = clock_timestamp() - interval '1 s' where run_id = $1"
        await self.pool.execute(ended, run.run_id)

    async def come_due(self, run: Run) -> None:
        """As if the run's delay had passed."""
        past = "update treadle.run set not_before = clock_timestamp() - interval '1 ms' where run_id = $1"
        await self.pool.execute(past, run.run_id)

    async def row(self, run: Run) -> Run | None:
        return await self.runs.get(EVERYWHERE, self.thread_id, run.run_id)

    async def status(self, run: Run) -> RunStatus | None:
        row = await self.row(run)
        return None if row is None else row.status

    async def thread(self) -> Thread:
        thread = await self.threads.get(EVERYWHERE, self.thread_id)
        assert thread is not None
        return thread


def taken(claim: Claim) -> Run:
    assert claim.outcome == "claimed", claim
    assert claim.run is not None
    return claim.run


def ended(claim: Claim) -> list[tuple[UUID, str]]:
    return [(run.run_id, run.status) for run in claim.ended]


async def held(task: asyncio.Future[Any]) -> bool:
    """Whether something keeps the task waiting."""
    done, _ = await asyncio.wait({task}, timeout=HELD_SECS)
    return not done
