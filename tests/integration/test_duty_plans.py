"""What the scheduler's duties, /metrics, claims and the cancelling of all runs cost: reads by index, and no more of them
however many runs have ended.

Every statement is executed as it stands, twice: over a thousand ended runs, and over two hundred thousand. Postgres tells
the plan of each, and of what functions and triggers execute inside of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from tests.integration.conftest import at_the_server, url_of
from treadle import json
from treadle.db import dead_letters, queue, requests, retention, runs, store, threads, ticks, webhooks
from treadle.db.pool import prepare
from treadle.db.scope import DEFAULT
from treadle.dev.servers import EmbeddedPostgres
from treadle.migrate import migrate

FEW, MANY = 1_000, 200_000
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
DAYS = timedelta(days=30)
CROWDED = UUID(hashlib.md5(b"crowded", usedforsecurity=False).hexdigest())

# What has ended and is kept, and what is due later: runs of the last twenty days, ten on each thread, each tenth with a
# webhook, one in a hundred given up; threads and memories that expire some day; delayed runs; webhooks between two attempts; a
# thread on which more and more runs wait, of which the workers have just been told.
KEPT = """
insert into treadle.thread (thread_id, ttl_strategy, expires_at)
select md5('thread ' || n)::uuid, case mod(n, 2) when 0 then 'delete' else 'keep_latest' end, now() + interval '30 days'
  from generate_series(%(first)s / 10, %(last)s / 10) n on conflict do nothing;
insert into treadle.run (run_id, thread_id, assistant_id, graph_id, status, kwargs, output, created_at, updated_at,
                         started_at, ended_at)
select md5('run ' || n)::uuid, md5('thread ' || n / 10)::uuid, md5('a')::uuid, 'agent', 'success', '{"input": {}}', '{}',
       at, at, at, at
  from generate_series(%(first)s, %(last)s) n,
       lateral (select now() - make_interval(secs => 20 * 86400.0 * n / 200000)) as t (at);
insert into treadle.webhook (webhook_id, run_id, thread_id, url, status, state, due_at, settled_at)
select md5('webhook ' || n)::uuid, md5('run ' || n)::uuid, md5('thread ' || n / 10)::uuid, 'https://example.com', 'success',
       case when mod(n, 100) = 1 then 'owed' else 'delivered' end, now() + interval '1 hour',
       case when mod(n, 100) = 1 then null else now() end
  from generate_series(%(first)s, %(last)s, 10) n;
insert into treadle.webhook_attempt (webhook_id, number)
select md5('webhook ' || n)::uuid, 1 from generate_series(%(first)s, %(last)s, 10) n;
insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason)
select md5('run ' || n)::uuid, md5('thread ' || n / 10)::uuid, 'agent', 3, 'worker lost'
  from generate_series(%(first)s, %(last)s, 100) n;
insert into treadle.thread (thread_id, status, stateless, gone_at)
select md5('stateless ' || n)::uuid, 'idle', true, now() + interval '1 hour' from generate_series(%(first)s, %(last)s, 50) n;
insert into treadle.thread (thread_id, status)
select md5('later ' || n)::uuid, 'busy' from generate_series(%(first)s, %(last)s, 50) n;
insert into treadle.run (run_id, thread_id, assistant_id, graph_id, kwargs, not_before)
select md5('delayed ' || n)::uuid, md5('later ' || n)::uuid, md5('a')::uuid, 'agent', '{}', now() + interval '1 day'
  from generate_series(%(first)s, %(last)s, 50) n;
insert into treadle.thread (thread_id, status) values (md5('crowded')::uuid, 'busy') on conflict do nothing;
insert into treadle.run (run_id, thread_id, assistant_id, graph_id, kwargs, updated_at)
select md5('crowded ' || n)::uuid, md5('crowded')::uuid, md5('a')::uuid, 'agent', '{}', now() + interval '1 hour'
  from generate_series(%(first)s, %(last)s, 20) n;
insert into treadle.request (source, message_id, run_id, thread_id)
select 'kept', n, md5('run')::uuid, md5('thread')::uuid from generate_series(%(first)s, %(last)s, 10) n;
insert into treadle.tick (cron_id, scheduled_for)
select md5('cron')::uuid, now() + make_interval(secs => n) from generate_series(%(first)s, %(last)s, 10) n;
insert into store (prefix, key, value, expires_at)
select 'memories', 'kept ' || n, '{}', case mod(n, 20) when 1 then now() + interval '1 day' end
  from generate_series(%(first)s, %(last)s, 10) n;
"""
# Twenty of each thing that is due.
DUE = """
insert into treadle.thread (thread_id, status, stateless, gone_at, ttl_strategy, expires_at)
select md5(kind || n)::uuid, case when kind in ('untold', 'leaseless', 'delayed') then 'busy' else 'idle' end,
       kind = 'gone', case kind when 'gone' then old end, case kind when 'expired' then 'delete'
       when 'pruned' then 'keep_latest' end, case when kind in ('expired', 'pruned') then old end
  from unnest('{untold,leaseless,delayed,gone,expired,pruned,ended}'::text[]) kind, generate_series(1, 20) n,
       (select now() - interval '40 days') as t (old);
insert into treadle.run (run_id, thread_id, assistant_id, graph_id, status, attempt, kwargs, not_before, created_at,
                         updated_at, ended_at)
select md5(kind || n || 'run' || part)::uuid, md5(kind || n)::uuid, md5('a')::uuid, 'agent', status, 1,
       '{}', case kind when 'delayed' then now() - interval '1 minute' end, old, old,
       case status when 'success' then old end
  from (values ('untold', 'pending', 2), ('leaseless', 'running', 1), ('delayed', 'pending', 1), ('gone', 'success', 1),
               ('expired', 'success', 3), ('pruned', 'success', 3), ('ended', 'success', 2)) as k (kind, status, parts),
       generate_series(1, 20) n, generate_series(1, parts) part,
       lateral (select now() - interval '40 days' + make_interval(secs => part)) as t (old);
insert into treadle.lease (run_id, attempt, worker, lease_until)
select run_id, 1, 'dead', now() - interval '1 minute' from treadle.run where status = 'running'
union all select gen_random_uuid(), 1, 'alive', now() + interval '1 hour' from generate_series(1, 5000);
insert into treadle.webhook (run_id, thread_id, url, status, state, due_at, settled_at)
select gen_random_uuid(), gen_random_uuid(), 'https://example.com', 'success', state, now(),
       case state when 'delivered' then now() - interval '40 days' end
  from unnest('{owed,delivered}'::text[]) state, generate_series(1, 20);
insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason, created_at)
select gen_random_uuid(), gen_random_uuid(), 'agent', 3, 'worker lost', now() - interval '40 days'
  from generate_series(1, 20);
insert into treadle.request (source, message_id, run_id, thread_id, accepted_at)
select 'old', n, md5('run')::uuid, md5('thread')::uuid, now() - interval '40 days' from generate_series(1, 20) n;
insert into treadle.tick (cron_id, scheduled_for, made_at)
select md5('cron')::uuid, now() - make_interval(days => 40, secs => n), now() - interval '40 days'
  from generate_series(1, 20) n;
insert into store (prefix, key, value, expires_at) select 'memories', 'due ' || n, '{}', now() - interval '1 day'
  from generate_series(1, 20) n;
"""


class Duty(NamedTuple):
    """A statement, what it is asked with, and the index by which it finds what is due."""

    sql: str
    parameters: Sequence[Any]
    by: str


DUTIES = {
    "untold": Duty(queue.OVERDUE, [2.0, 500, LONG_AGO, 0], "run_untold"),
    "leaseless": Duty(queue.LEASELESS, [500], "lease_end"),
    "delays": Duty(queue.COME_DUE, [LONG_AGO, UUID(int=0), 1000], "run_delayed"),
    "metrics": Duty(queue.QUEUE, [], "run_untold"),
    "room": Duty(queue.WAITING, ["default", 100_000], "run_untold"),
    "webhooks": Duty(webhooks.TAKE_DUE, [timedelta(seconds=30), 64], "webhook_due"),
    "webhook records": Duty(webhooks.FORGET, [DAYS, 200], "webhook_settled"),
    "requests": Duty(requests.FORGET, [DAYS, 200], "request_age"),
    "ticks": Duty(ticks.FORGET, [DAYS, 200], "tick_age"),
    "stateless": Duty(threads.FORGET_GONE, [60.0, 200], "thread_gone"),
    "expired": Duty(threads.EXPIRE, [100], "thread_expiry"),
    "pruned": Duty(threads.DUE_FOR_PRUNING, [100], "thread_expiry"),
    "memories": Duty(store.EXPIRE, [200], "idx_store_expires_at"),
    "dead letters": Duty(dead_letters.FORGET, [DAYS, 200], "dead_letter_age"),
    "claims": Duty(runs.CLAIM, [CROWDED, "worker", timedelta(seconds=30), 3, False], "run_turn"),
    "cancels": Duty(runs.THREADS_WITH, [["running"], *DEFAULT], "run_one_running"),
    "runs": Duty(retention.FORGET_RUNS, [DAYS, LONG_AGO, 0, 200], "run_ended"),
}


GROWING = {"run", "thread", "webhook", "webhook_attempt", "dead_letter", "store", "tick", "request"}


class Cost(NamedTuple):
    """All nodes of the plans of a statement, the rows that it returned, and the buffers that were read."""

    nodes: list[dict[str, Any]]
    rows: list[Any]
    buffers: int

    def of(self, kind: str, named: str) -> set[str]:
        return {node[named] for node in self.nodes if node["Node Type"].endswith(kind) and named in node}


class Observed:
    """A connection that hears by which plans something was executed, in functions and triggers too."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._plans: list[dict[str, Any]] = []
        connection.add_log_listener(self._hear)

    def _hear(self, _: object, message: Any) -> None:
        _, found, plan = message.message.partition("plan:\n")
        if found:
            self._plans.append(json.decode(plan.encode())["Plan"])

    async def cost(self, duty: Duty, mode: str) -> Cost:
        """What a statement costs; what it does is taken back."""
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            await self._connection.execute(OBSERVED.format(mode=mode))
            rows = await self._connection.fetch(duty.sql, *duty.parameters)
        finally:
            await transaction.rollback()
        plans, self._plans = self._plans, []
        read = sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)
        return Cost([node for plan in plans for node in nodes(plan)], rows, read)


OBSERVED = """
set local plan_cache_mode = {mode};
set local auto_explain.log_min_duration = 0;
"""
PREPARED = """
load 'auto_explain';
set auto_explain.log_format = json;
set auto_explain.log_level = notice;
set auto_explain.log_nested_statements = on;
set auto_explain.log_analyze = on;
set auto_explain.log_timing = off;
set auto_explain.log_buffers = on;
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in cast("list[dict[str, Any]]", plan.get("Plans", [])):
        yield from nodes(inner)


@pytest.fixture(scope="module", params=["auto", "force_generic_plan"])
def mode(request: pytest.FixtureRequest) -> str:
    """Postgres may plan for the parameters, or for whatever they are."""
    return request.param


class Costs(NamedTuple):
    few: dict[tuple[str, str], Cost]
    many: dict[tuple[str, str], Cost]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def costs(postgres: EmbeddedPostgres) -> AsyncGenerator[Costs]:
    """What each statement costs over few ended runs, and over many."""
    await at_the_server(postgres, "create database ended template template0")
    dsn = url_of(postgres, "ended")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        await prepare(connection)
        await connection.execute(PREPARED)
        observed = Observed(connection)
        await filled(connection, DUE, KEPT % {"first": 1, "last": FEW})
        few = await each(observed)
        await filled(connection, KEPT % {"first": FEW + 1, "last": MANY})
        yield Costs(few, await each(observed))
    finally:
        await connection.close()
    await at_the_server(postgres, "drop database ended with (force)")


async def filled(connection: asyncpg.Connection, *statements: str) -> None:
    """Without triggers: they are not what is looked at, and take their time."""
    await connection.execute("set session_replication_role = replica")
    for statement in statements:
        await connection.execute(statement)
    await connection.execute("set session_replication_role = origin")
    await connection.execute("vacuum analyze")


async def each(observed: Observed) -> dict[tuple[str, str], Cost]:
    modes = ("auto", "force_generic_plan")
    return {(name, mode): await observed.cost(duty, mode) for name, duty in DUTIES.items() for mode in modes}


@pytest.mark.parametrize("name", DUTIES)
def test_what_is_due_is_found_by_index(costs: Costs, name: str, mode: str) -> None:
    cost = costs.many[name, mode]
    assert cost.of("Seq Scan", "Relation Name") & GROWING == set()
    assert DUTIES[name].by in cost.of("Scan", "Index Name")


@pytest.mark.parametrize("name", DUTIES)
def test_what_it_costs_does_not_grow_with_what_has_ended(costs: Costs, name: str, mode: str) -> None:
    """Two hundred times as many rows make indexes a level or two deeper, and that is all."""
    few, many = costs.few[name, mode], costs.many[name, mode]
    assert len(few.rows) == len(many.rows)
    assert many.buffers <= 2 * few.buffers + 20
