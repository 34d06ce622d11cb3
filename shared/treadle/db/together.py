"""What many ask of Postgres at the same time, in one statement: its costs, and those of its commit, are shared.

Each gets what it would have got alone (migrations/0019_runs_together.sql has what that takes where runs are made).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from uuid import UUID

from treadle.coalescing import Coalescer
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, postgres_errors, refused_too
from treadle.db.rows import Row, read
from treadle.db.scope import Scope
from treadle.errors import Overloaded
from treadle.model import MultitaskStrategy, Run, Thread

CREATE = """
select n.place, made.* from unnest(
           $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::json[], $6::jsonb[], $7::text[], $8::text[], $9::interval[],
           $10::text[], $11::boolean[], $12::jsonb[], $13::jsonb[], $14::uuid[], $15::text[], $16::text[]
       ) with ordinality as n (run_id, thread_id, assistant_id, graph_id, kwargs, metadata, strategy, if_not_exists, delay,
                               route, stateless, thread_metadata, thread_config, revision, tenant, conditions, place),
       lateral treadle.create_run_beside(
           n.run_id, n.thread_id, n.assistant_id, n.graph_id, n.kwargs, n.metadata, n.strategy, n.if_not_exists, n.delay,
           n.route, n.stateless, n.thread_metadata, n.thread_config, n.revision, n.tenant, n.conditions::jsonb) as made
"""
GET = """
select w.place, r.* from unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::text[], $5::text[])
           with ordinality as w (thread_id, run_id, gone, tenant, conditions, place),
       lateral (select r.* from treadle.run r join treadle.thread t using (thread_id)
                 where r.thread_id = w.thread_id and r.run_id = w.run_id and (t.gone_at is null or w.gone)
                   and treadle.sees(w.tenant, w.conditions::jsonb, t.tenant, t.metadata) limit 1) as r
"""
# Threads under ids that nobody else can have.
CREATE_THREADS = """
insert into treadle.thread (thread_id, metadata, ttl_strategy, ttl_minutes, tenant, owner)
select * from unnest($1::uuid[], $2::jsonb[], $3::text[], $4::double precision[], $5::text[], $6::text[]) returning *
"""
MOST = 32
# One that is larger would make the others wait for its transfer.
LARGE_BYTES = 64 * 1024
# Of the parameters of a new run: its thread's time to live, which these runs have none of, comes after so many.
BEFORE_LIFETIME = 14
# The others may have to wait for what holds the runs that they cancel.
_WITHOUT_WAITING = (MultitaskStrategy.ENQUEUE, MultitaskStrategy.REJECT)


class Maker(NamedTuple):
    """Who makes a thread. `owner` None: nobody who has proved who it is."""

    tenant: str
    owner: str | None = None


class RunsTogether:
    """Makes and reads runs for many at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._creating = Coalescer("create-runs", self._create, most=MOST)
        self._reading = Coalescer("read-runs", self._get, most=MOST)

    async def create(self, new: NewRun) -> Row | None:
        """What `Runs.create` is to make its answer of; None: this run is to be accepted by itself, and nothing was done."""
        if new.strategy not in _WITHOUT_WAITING or new.lifetime != (None, None):
            return None
        parameters = new.parameters()
        if len(cast("str", parameters[4])) > LARGE_BYTES:
            return None
        made = await self._creating((*parameters[:BEFORE_LIFETIME], *new.scope))
        return None if made["outcome"] == "locked" else made

    async def get(self, scope: Scope, thread_id: UUID, run_id: UUID, *, gone: bool) -> Run | None:
        """As `Runs.get`."""
        return await self._reading((thread_id, run_id, gone, scope.tenant, scope.conditions))

    async def _create(self, all_parameters: Sequence[tuple[object, ...]]) -> list[Row | Exception]:
        with _together(self._pool, "creating a run", all_parameters):
            rows = await self._pool.fetch(CREATE, *map(list, zip(*all_parameters, strict=True)))
        made: dict[int, Any] = {row["place"]: row for row in rows}
        return [made[place] for place in range(1, len(all_parameters) + 1)]

    async def _get(
        self, asked: Sequence[tuple[UUID, UUID, bool, str | None, str | None]]
    ) -> list[Run | Exception | None]:
        with _together(self._pool, "reading a run", asked):
            rows = await self._pool.fetch(GET, *map(list, zip(*asked, strict=True)))
        found = {row["place"]: read(Run, row) for row in rows}
        return [found.get(place) for place in range(1, len(asked) + 1)]


class ThreadsTogether:
    """Makes threads for many at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._creating = Coalescer("create-threads", self._create, most=MOST)

    async def create(
        self, thread_id: UUID, metadata: str, ttl: tuple[str | None, float | None], maker: Maker
    ) -> Thread:
        """Make a thread under an id that is new.

        Args:
            metadata: as JSON text for `jsonb`.
            ttl: strategy and minutes.
        """
        return await self._creating((thread_id, metadata, *ttl, maker.tenant, maker.owner))

    async def _create(
        self, new: Sequence[tuple[UUID, str, str | None, float | None, str, str | None]]
    ) -> list[Thread | Exception]:
        with _together(self._pool, "creating a thread", new):
            rows = await self._pool.fetch(CREATE_THREADS, *map(list, zip(*new, strict=True)))
        made = {row["thread_id"]: read(Thread, row) for row in rows}
        return [made[thread_id] for thread_id, *_ in new]


@contextmanager
def _together(pool: Pool, doing: str, items: Sequence[object]) -> Generator[None]:
    """Errors as each of them would get them; whoever waited in vain for the connection of all is counted."""
    try:
        with postgres_errors(doing):
            yield
    except Overloaded:
        refused_too(pool, len(items) - 1)
        raise
