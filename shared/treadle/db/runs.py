"""Everything that is said to Postgres about runs: the protocol's steps, and reading.

The steps themselves (locks, transitions, invariants) are in migrations/0002_run_protocol.sql and, as they are now: claim in
0014_solitary_runs.sql, which run it takes and what becomes of runs whose workers die in 0021_moment_of_claims.sql, create in
0016_once.sql, finish in 0020_finish_with_checkpoints.sql, the end of a run in 0017_writes_without_checkpoint.sql, its rollback in
0018_replaced_writes.sql.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec
from msgspec import structs

from treadle import json
from treadle.db.checkpoint_rows import COLUMNS, Put, columns_of, numbered
from treadle.db.new_run import NewRun
from treadle.db.pool import Connection, Pool, clock, transaction
from treadle.db.rows import Row, read
from treadle.db.scope import Scope, sees
from treadle.db.together import RunsTogether
from treadle.model import CancelAction, Run, RunStatus

_NEW = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18::text::jsonb"
CREATE = f"select * from treadle.create_run({_NEW})"  # noqa: S608 - put together from constants
# The same, once for each name of a request; the name comes last.
CREATE_ONCE = f"select * from treadle.create_run_once($19, $20, {_NEW})"  # noqa: S608 - as above
# What a request of this name has made at first.
REQUESTED = """
select q.run_id, q.thread_id, r as run from treadle.request q left join treadle.run r using (run_id)
 where q.source = $1 and q.message_id = $2
"""
CLAIM = "select * from treadle.claim($1, $2, $3, $4, $5)"
_OUTCOME = "$1, $2, $3, $4, $5::text::json, $6::text::json, $7::text::jsonb, $8::text::jsonb, $9, $10, $11, $12, $13, $14"
FINISH = f"select * from treadle.finish({_OUTCOME})"  # noqa: S608 - put together from constants
# The same, with what the run has left to write before it.
FINISH_WITH = f"select * from treadle.finish_with({_OUTCOME}, {numbered(15, COLUMNS)})"  # noqa: S608 - as above
HAND_BACK = "select * from treadle.hand_back($1, $2, $3)"
# The process that made a solitary attempt has died, and not by the doing of another run: its lease is over.
DIED_ALONE = """
update treadle.lease l set died = true, lease_until = clock_timestamp()
  from treadle.run r
 where r.thread_id = $1 and r.status = 'running' and l.run_id = r.run_id and l.worker = $2 and l.alone
returning l.run_id
"""
# End a lease now: whoever looks at the thread next takes the run over, as from a dead worker.
ABANDON = "update treadle.lease set lease_until = clock_timestamp() where run_id = $1 and attempt = $2"
# On a thread that is within the scope; no row: there is none.
CANCEL = """
select done.* from treadle.hold_thread($1, $4, $5::text::jsonb) as t (thread_id),
       lateral treadle.cancel(t.thread_id, $2, $3) as done
"""
CANCEL_RUNS = """
select done.* from treadle.hold_thread($1, $5, $6::text::jsonb) as t (thread_id),
       lateral treadle.cancel_runs(t.thread_id, $2, $3, $4) as done
"""
# Where there are runs to cancel, in the order in which threads are locked. Two parts, so that each is found by the index of
# its status; the threads are looked up one by one (`offset`), for they are few of very many.
THREADS_WITH = f"""
select active.thread_id
  from (select thread_id from treadle.run
         where status = 'pending' and 'pending' = any($1)
        union
        select thread_id from treadle.run
         where status = 'running' and 'running' = any($1)) as active,
       lateral (select from treadle.thread t where t.thread_id = active.thread_id and {sees(2, "t")} offset 0) as seen
 order by active.thread_id
"""  # noqa: S608 - put together from constants

# Extend the leases that are still ours. Rows that do not come back are lost; a cancel comes along.
HEARTBEAT = """
update treadle.lease l set lease_until = clock_timestamp() + $3
  from unnest($1::uuid[], $2::int[]) as mine (run_id, attempt)
 where l.run_id = mine.run_id and l.attempt = mine.attempt
returning l.run_id, (select r.cancel_action from treadle.run r where r.run_id = l.run_id)
"""

LIST = f"""
select r.* from treadle.run r join treadle.thread t using (thread_id)
 where r.thread_id = $1 and t.gone_at is null and ($2::text is null or r.status = $2)
   and ($5::jsonb is null or r.metadata @> $5) and {sees(6, "t")}
 order by r.created_at desc, r.seq desc limit $3 offset $4
"""  # noqa: S608 - put together from constants
# Two parts, so that each is found by the index of its status.
ACTIVE_OF_ASSISTANT = """
select r.* from treadle.run r where r.status = 'pending' and r.assistant_id = $1
union all
select r.* from treadle.run r where r.status = 'running' and r.assistant_id = $1
"""
# Runs of the given threads that have not ended.
ACTIVE = f"""
select r.* from treadle.run r join treadle.thread t using (thread_id)
 where r.thread_id = any($1::uuid[]) and r.status in ('pending', 'running') and {sees(3, "t")} limit $2
"""  # noqa: S608 - put together from constants
# Runs of the given ids that are no longer going on; a run that is not found has been removed.
ENDED = """
select w.run_id, coalesce(r.status, 'rolled_back') as status,
       coalesce(extract(epoch from clock_timestamp() - r.ended_at), 0)::float8 as secs_ago
  from unnest($1::uuid[]) as w (run_id) left join treadle.run r using (run_id)
 where r.status is null or r.status not in ('pending', 'running')
"""
# Runs of a thread that have begun and had not ended at a moment, in the order in which they began. `settled`: so long
# over that nobody writes its events any more.
BEGUN = f"""
select r.*, coalesce(r.ended_at < clock_timestamp() - make_interval(secs => $3), false) as settled
  from treadle.run r join treadle.thread t using (thread_id)
 where r.thread_id = $1 and t.gone_at is null and r.started_at is not null
   and (r.ended_at is null or r.ended_at > $2) and {sees(4, "t")}
 order by r.started_at, r.seq limit 100
"""  # noqa: S608 - put together from constants
# Those of the given threads on which a run has begun of late.
STIRRING = """
select distinct thread_id from treadle.run
 where thread_id = any($1::uuid[]) and started_at > clock_timestamp() - make_interval(secs => $2)
"""
DELETE = """
select treadle.delete_run(t.thread_id, $2) from treadle.hold_thread($1, $3, $4::text::jsonb) as t (thread_id)
"""
IS_NEWEST = (
    "select exists (select from treadle.run where run_id = $1 and attempt = $2 and status = 'running')"
)
# The run of a thread that is on under a lease of that name, which begins anew: it may have ended since, with nobody to see it.
CLAIMED_AS = """
update treadle.lease l set lease_until = clock_timestamp() + $3
  from treadle.run r
 where r.thread_id = $1 and r.status = 'running' and l.run_id = r.run_id and l.attempt = r.attempt and l.worker = $2
returning r.*
"""
# What has an earlier attempt of this run left that the next one can continue from? Only what hangs on a checkpoint of the
# graph itself: under `async` a step's writes, and those of a graph within it, may be committed before the checkpoint that
# they belong to, and stay behind alone when the worker dies in between. There is nothing to go on with then.
PROGRESS = """
select exists (select from checkpoints
                where thread_id = $1::text and checkpoint_ns = '' and metadata ->> 'run_id' = $2::text) as checkpointed,
       exists (select from checkpoint_writes w join checkpoints c using (thread_id, checkpoint_ns, checkpoint_id)
                where w.thread_id = $1::text and w.checkpoint_ns = '' and w.treadle_run_id = $2::uuid) as written,
       exists (select from checkpoint_writes w join checkpoints c using (thread_id, checkpoint_ns, checkpoint_id)
                where w.thread_id = $1::text and w.treadle_run_id = $2::uuid
                  and (w.channel = '__interrupt__' or w.channel = '__resume__' and w.task_id <> $3)) as answered
"""
# An answer without an id waits under this task until a task has taken it (`NULL_TASK_ID` of langgraph).
WAITING_ANSWER = "00000000-0000-0000-0000-000000000000"
# Runs with an answer that a run interrupted to give its own: they were on when it was accepted.
ANSWERS_BEFORE = """
select other.run_id from treadle.run mine join treadle.run other using (thread_id)
 where mine.run_id = $1 and other.seq < mine.seq and other.status = 'interrupted' and other.ended_at > mine.created_at
   and treadle.answers_of(other.kwargs) is not null
 order by other.seq desc
"""


class Lease(msgspec.Struct, frozen=True):
    """What a worker asks for with a claim: who it is, for how long, and when to give a run up.

    `alone`: it works on this one run only, so it may take one for its last attempt.
    """

    worker: str
    secs: float
    max_crashes: int
    alone: bool = False

    @property
    def length(self) -> timedelta:
        return timedelta(seconds=self.secs)


class EndedRun(msgspec.Struct, frozen=True):
    """A run that is over; status `rolled_back` when nothing of it is left, not even since when (`secs_ago`)."""

    run_id: UUID
    status: str
    attempt: int = 0
    secs_ago: float = 0.0


class BegunRun(msgspec.Struct, frozen=True):
    """A run that a worker has taken up; `settled`: so long over that nobody writes its events any more."""

    run: Run
    settled: bool


class Claim(msgspec.Struct, frozen=True):
    """The answer to a claim: `claimed` with the run, `leased` with the seconds until the lease ends, `idle`
    when the thread has nothing to do, `solitary` when its next run is to be executed by a process of its own,
    `fenced` when the finishing run was not this attempt's any more."""

    outcome: Literal["claimed", "leased", "idle", "solitary", "fenced"]
    retry_in: float | None
    ended: tuple[EndedRun, ...]
    run: Run | None


class CancelledRun(msgspec.Struct, frozen=True):
    """A run that a strategy or a request cancelled: `ended` at once, or `signalled` to its worker."""

    run_id: UUID
    outcome: Literal["ended", "signalled", "finished", "not_found"]
    status: str | None
    attempt: int = 0


class Created(msgspec.Struct, frozen=True):
    """The answer to a request for a run; `answered`: it answers what somebody else has answered; `assistant_changed`: it was
    made from what the assistant no longer is."""

    outcome: Literal["created", "busy", "answered", "thread_not_found", "assistant_changed"]
    cancelled: tuple[CancelledRun, ...]
    run: Run | None


class RequestKey(msgspec.Struct, frozen=True):
    """The name of a request for a run: who asks, and what it calls this request. One name makes one run."""

    source: str
    message_id: str


class Requested(msgspec.Struct, frozen=True):
    """The run that a request has made: now, if it is `created`, or at first; `run` is None when that one is gone."""

    run_id: UUID
    thread_id: UUID
    run: Run | None
    created: Created | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `output` is what wait and join answer; values and interrupts None: the thread keeps its own.

    All bytes are JSON, encoded once. `resting` is the thread's status from now on, unless more runs wait on it. `left` is what
    the run has still to write among the checkpoints.
    """

    status: Literal["success", "error", "timeout", "interrupted"]
    resting: Literal["idle", "interrupted", "error"]
    output: bytes | None = None
    error: bytes | None = None
    values: bytes | None = None
    interrupts: bytes | None = None
    left: Sequence[Put] = ()


class Progress(msgspec.Struct, frozen=True):
    """Whether a run has checkpoints of its own, whether it has written anything at all, and whether a task has taken its
    answer or asked anew: a node that asks twice does so without a checkpoint in between."""

    checkpointed: bool
    written: bool
    answered: bool = False


class Runs:
    """The runs in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._together = RunsTogether(pool)

    async def create(self, new: NewRun) -> Created:
        """Accept a run: lock its thread, apply the multitask strategy, insert it. One round trip, which many share.

        Two, where the thread is locked just now.
        """
        made = await self._together.create(new)
        return await self._create(self._pool, new) if made is None else _created(made)

    async def create_once(self, new: NewRun, key: RequestKey) -> Requested:
        """Accept a run, as `create` does, unless a request of this name has made one already. One round trip."""
        [row] = await self._pool.fetch(CREATE_ONCE, *new.parameters(), key.source, key.message_id)
        created = None if row["outcome"] == "repeated" else _created(row)
        return Requested(row["run_id"], row["thread_id"], _run(row["run"]), created)

    async def requested(self, key: RequestKey) -> Requested | None:
        """What a request of this name has made."""
        row = await self._pool.fetchrow(REQUESTED, key.source, key.message_id)
        return None if row is None else Requested(row["run_id"], row["thread_id"], _run(row["run"]))

    async def create_all(self, new: Sequence[NewRun]) -> list[Created]:
        """Accept all of these, or none: then the last of the answers says why, and there is none after it."""
        created: list[Created] = []
        with suppress(_NotAll):
            async with transaction(self._pool) as connection:
                for each in new:
                    created.append(await self._create(connection, each))
                    if created[-1].run is None:
                        raise _NotAll
        return created

    async def _create(self, where: Pool | Connection, new: NewRun) -> Created:
        [row] = await where.fetch(CREATE, *new.parameters())
        return _created(row)

    async def claim(self, thread_id: UUID, lease: Lease) -> Claim:
        """Take the thread's next run, unless another worker holds a live lease on the thread."""
        return _claim(
            await self._answer(CLAIM, thread_id, lease.worker, lease.length, lease.max_crashes, lease.alone)
        )

    async def died_alone(self, thread_id: UUID, worker: str) -> UUID | None:
        """Testify that a process which made a solitary attempt has died, while the one that started it lives.

        Returns the run that it had; None when it had none, or had let go of it.
        """
        return await self._pool.fetchval(DIED_ALONE, thread_id, worker)

    async def claimed_as(self, thread_id: UUID, lease: Lease) -> Run | None:
        """What a claim with this lease has got on a thread, if its answer was lost; the lease begins anew."""
        return _run(await self._pool.fetchrow(CLAIMED_AS, thread_id, lease.worker, lease.length))

    async def finish(self, run: Run, outcome: Outcome, lease: Lease, *, claim_next: bool) -> Claim:
        """Write the outcome and claim the thread's next run, fenced by the run's attempt. One round trip.

        An outcome that Postgres cannot store (a string of 256 MB, say) becomes an error that says so: no other
        attempt would fare better.
        """
        try:
            return await self._finish(run, outcome, lease, claim_next)
        except UNSTORABLE as error:
            told = unstorable(error, outcome.left)
        try:
            return await self._finish(run, told, lease, claim_next)
        except UNSTORABLE:
            return await self._finish(run, structs.replace(told, left=()), lease, claim_next)

    async def _finish(self, run: Run, outcome: Outcome, lease: Lease, claim_next: bool) -> Claim:
        statement, left = (FINISH_WITH, columns_of(outcome.left)) if outcome.left else (FINISH, [])
        return _claim(
            await self._answer(
                statement,
                run.thread_id,
                run.run_id,
                run.attempt,
                outcome.status,
                _json(outcome.output),
                _jsonb(outcome.error),
                _jsonb(outcome.values),
                _jsonb(outcome.interrupts),
                outcome.resting,
                lease.worker,
                lease.length,
                lease.max_crashes,
                lease.alone,
                claim_next,
                *left,
            )
        )

    async def hand_back(self, run: Run) -> Claim:
        """Give a run back to its queue, at its old place, with no attempt used up."""
        return _claim(await self._answer(HAND_BACK, run.thread_id, run.run_id, run.attempt))

    async def abandon(self, run: Run) -> None:
        """Let a run be taken over at once, as from a worker that has died: an attempt is used up."""
        await self._pool.execute(ABANDON, run.run_id, run.attempt)

    async def cancel(self, scope: Scope, thread_id: UUID, run_id: UUID, action: CancelAction) -> CancelledRun:
        """Write the cancel to the row; the caller signals the worker when the outcome is `signalled`."""
        row = await self._pool.fetchrow(CANCEL, thread_id, run_id, action, *scope)
        if row is None:
            return CancelledRun(run_id, "not_found", None)
        return CancelledRun(run_id, row["outcome"], row["status"], row["attempt"])

    async def cancel_some(
        self,
        scope: Scope,
        thread_id: UUID,
        statuses: Collection[RunStatus],
        action: CancelAction,
        run_ids: Sequence[UUID] | None = None,
    ) -> list[CancelledRun]:
        """Cancel the runs of a thread that have one of the statuses; with ids, only these."""
        rows = await self._pool.fetch(CANCEL_RUNS, thread_id, list(statuses), run_ids, action, *scope)
        return [CancelledRun(row["run_id"], row["outcome"], row["status"], row["attempt"]) for row in rows]

    async def threads_with(self, scope: Scope, statuses: Collection[RunStatus]) -> list[UUID]:
        """The threads that have a run with one of the statuses, of those that a run has before its end."""
        rows = await self._pool.fetch(THREADS_WITH, list(statuses), *scope)
        return [row["thread_id"] for row in rows]

    async def get(self, scope: Scope, thread_id: UUID, run_id: UUID, *, gone: bool = False) -> Run | None:
        """One run; `gone` also finds a stateless one that has ended and waits for its removal."""
        return await self._together.get(scope, thread_id, run_id, gone=gone)

    async def of_thread(
        self,
        scope: Scope,
        thread_id: UUID,
        *,
        status: str | None = None,
        limit: int = 10,
        offset: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> list[Run]:
        """Runs of a thread, newest first."""
        rows = await self._pool.fetch(LIST, thread_id, status, limit, offset, metadata, *scope)
        return [read(Run, row) for row in rows]

    async def active_of(self, assistant_id: UUID) -> list[Run]:
        """The runs of an assistant that wait or are on."""
        return [read(Run, row) for row in await self._pool.fetch(ACTIVE_OF_ASSISTANT, assistant_id)]

    async def begun(
        self, scope: Scope, thread_id: UUID, after: datetime, settled_secs: float
    ) -> list[BegunRun]:
        """Runs that have begun and were not over at a moment, in the order in which they began; 100 at most.

        Args:
            settled_secs: how long after its end a run counts as settled.
        """
        rows = await self._pool.fetch(BEGUN, thread_id, after, settled_secs, *scope)
        return [BegunRun(read(Run, row), row["settled"]) for row in rows]

    async def stirring(self, thread_ids: Sequence[UUID], within_secs: float) -> list[UUID]:
        """Those of the threads on which a run has begun within the last seconds."""
        return [row["thread_id"] for row in await self._pool.fetch(STIRRING, thread_ids, within_secs)]

    async def active(self, scope: Scope, thread_ids: Sequence[UUID], limit: int) -> list[Run]:
        """Runs of these threads that have not ended."""
        return [read(Run, row) for row in await self._pool.fetch(ACTIVE, thread_ids, limit, *scope)]

    async def ended(self, run_ids: Sequence[UUID]) -> list[EndedRun]:
        """Which of these runs are over; a removed one has the status `rolled_back`."""
        return [
            EndedRun(row["run_id"], row["status"], secs_ago=row["secs_ago"])
            for row in await self._pool.fetch(ENDED, run_ids)
        ]

    async def delete(
        self, scope: Scope, thread_id: UUID, run_id: UUID
    ) -> Literal["deleted", "active", "not_found"]:
        """Remove an ended run with its checkpoints; `active`: it has not ended, and stands."""
        return await self._pool.fetchval(DELETE, thread_id, run_id, *scope) or "not_found"

    async def is_newest(self, run: Run) -> bool:
        """Whether this attempt of a run is on, and no newer one."""
        return await self._pool.fetchval(IS_NEWEST, run.run_id, run.attempt)

    async def progress(self, run: Run) -> Progress:
        """What earlier attempts of a run have left to continue from."""
        row = await self._answer(PROGRESS, str(run.thread_id), str(run.run_id), WAITING_ANSWER)
        return Progress(row["checkpointed"], row["checkpointed"] or row["written"], row["answered"])

    async def answers_before(self, run: Run) -> list[UUID]:
        """The runs that this one interrupted though they had answers too, newest first."""
        return [row["run_id"] for row in await self._pool.fetch(ANSWERS_BEFORE, run.run_id)]

    async def clock(self) -> datetime:
        """The database's clock, the only one that leases and delays go by."""
        return await clock(self._pool)

    async def _answer(self, statement: str, *parameters: object) -> Row:
        """The one row with which a step of the protocol answers."""
        [row] = await self._pool.fetch(statement, *parameters)
        return row


class _NotAll(Exception):
    """Rolls a batch back of which one run cannot be created."""


UNSTORABLE = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)


def unstorable(error: Exception, left: Sequence[Put]) -> Outcome:
    """What stands in the place of an outcome that Postgres cannot store; `left` is still to be written with it."""
    message = (
        f"The run came to its end, but Postgres cannot store what it left: {error}. Its checkpoints are kept."
    )
    return Outcome(
        status="error",
        resting="error",
        error=json.encode({"error": "OutcomeNotStorable", "message": message}),
        left=left,
    )


def _created(row: Row) -> Created:
    cancelled = tuple(msgspec.convert(item, CancelledRun) for item in row["cancelled"])
    return Created(row["outcome"], cancelled, _run(row["run"]))


def _run(row: Any) -> Run | None:
    return None if row is None or row["run_id"] is None else read(Run, row)


def _claim(row: Row) -> Claim:
    ended = tuple(msgspec.convert(item, EndedRun) for item in row["ended"])
    return Claim(row["outcome"], row["retry_in"], ended, _run(row["run"]))


def _json(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


def _jsonb(data: bytes | None) -> str | None:
    return None if data is None else json.jsonb_text(data)
