"""Waiting until a site is at rest, and collecting what it says of itself then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import nats
import psutil
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import InternalServerError
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from tests.chaos.evidence import Published, Streamed, ThreadState
from tests.chaos.site import Site
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.subjects import (
    DEAD_LETTERS_STREAM,
    DELAYS_STREAM,
    EVENTS_STREAM,
    REQUESTS_STREAM,
    RUNS_STREAM,
)
from treadle.streaming.batch import arrived
from treadle.streaming.connection import connect
from treadle.streaming.event import stream_key

LOOK_SECS = 0.25
CANARY = "chaos:canary"
# What is not to be there at rest: each query shows some of the rows.
ROWS = {
    "runs that have not ended": "select run_id || ' ' || status from treadle.run where status in ('pending', 'running')",
    "leases": "select run_id || ' of ' || worker from treadle.lease",
    "rows in the outbox of run events": "select run_id || ' ' || status from treadle.run_event",
    "orphans that wait for their removal": "select thread_id::text from treadle.orphan",
    "webhooks that are due": "select run_id::text from treadle.webhook where state = 'waiting'",
    "dead letters": "select run_id || ' ' || reason from treadle.dead_letter",
    "busy threads": "select thread_id::text from treadle.thread where status = 'busy'",
    "checkpoints of no thread": """
        select distinct thread_id from checkpoints c
         where not exists (select from treadle.thread t where t.thread_id::text = c.thread_id)""",
    "checkpoints of no run": """
        select distinct c.thread_id || ' of run ' || (c.metadata ->> 'run_id') from checkpoints c
         where c.metadata ->> 'run_id' is not null
           and not exists (select from treadle.run r where r.run_id::text = c.metadata ->> 'run_id')""",
    "writes of no checkpoint": """
        select distinct thread_id || ' ' || checkpoint_id from checkpoint_writes w
         where not exists (select from checkpoints c where (c.thread_id, c.checkpoint_ns, c.checkpoint_id)
                                                         = (w.thread_id, w.checkpoint_ns, w.checkpoint_id))""",
    "writes of no run": """
        select distinct thread_id || ' of run ' || treadle_run_id from checkpoint_writes w
         where treadle_run_id is not null
           and not exists (select from treadle.run r where r.run_id = w.treadle_run_id)""",
    "blobs of no checkpoint": """
        select distinct thread_id || ' ' || channel || ' ' || version from checkpoint_blobs b
         where not exists (select from checkpoints c
                            where c.thread_id = b.thread_id and c.checkpoint_ns = b.checkpoint_ns
                              and c.checkpoint -> 'channel_versions' ->> b.channel = b.version)""",
}


@asynccontextmanager
async def redis_of(site: Site) -> AsyncGenerator[Redis]:
    redis = connect(site.stack.servers.valkey.url)
    try:
        yield redis
    finally:
        await redis.aclose()


@asynccontextmanager
async def nats_of(site: Site) -> AsyncGenerator[Nats]:
    client = await nats.connect(site.stack.servers.nats.url)
    try:
        yield client
    finally:
        await client.close()


async def rows_left(database: asyncpg.Connection) -> dict[str, list[str]]:
    return {what: [row[0] for row in await database.fetch(query)] for what, query in ROWS.items()}


async def messages_left(client: Nats) -> dict[str, list[str]]:
    """What waits in NATS, or is delivered and not acknowledged."""
    stream = client.jetstream()
    left: dict[str, list[str]] = {}
    for name in (RUNS_STREAM, DELAYS_STREAM, REQUESTS_STREAM, DEAD_LETTERS_STREAM):
        with contextlib.suppress(NotFoundError):
            state = (await stream.stream_info(name)).state
            left[f"messages in {name}"] = [f"{state.messages} messages"] if state.messages else []
            for consumer in await stream.consumers_info(name):
                waits = (consumer.num_ack_pending or 0) + (consumer.num_pending or 0)
                left[f"messages of the consumer {consumer.name}"] = [f"{waits} pending"] if waits else []
    return left


async def keys_left(redis: Redis) -> dict[str, list[str]]:
    """Keys that would stay for ever."""
    found = cast("list[bytes]", [key async for key in cast(Any, redis.scan_iter(count=1000))])
    lasting = [str(key) for key in found if await redis.pttl(key) == -1]
    return {"keys in Redis without an expiry": lasting}


async def at_rest(site: Site, secs: float) -> str:
    """Wait until nothing is under way any more; returns what still was when the time was over."""
    left: dict[str, list[str]] = {}
    problem = ""
    try:
        async with asyncio.timeout(secs):
            while True:
                try:
                    async with site.stack.database() as database, nats_of(site) as client:
                        left = await rows_left(database) | await messages_left(client)
                except (OSError, asyncpg.PostgresError, *NATS_ERRORS) as error:
                    problem = repr(error)
                else:
                    if not any(left.values()):
                        return ""
                await asyncio.sleep(LOOK_SECS)
    except TimeoutError:
        told = [f"{len(rows)} {what}: {'; '.join(rows[:3])}" for what, rows in left.items() if rows]
        return f"after {secs:g} s: {'; '.join(told) or problem}"


async def states_of(client: LangGraphClient, thread_ids: list[str]) -> dict[str, ThreadState]:
    """What the API says of each thread."""
    turns = asyncio.Semaphore(10)

    async def state_of(thread_id: str) -> ThreadState:
        async with turns:
            thread = cast("dict[str, Any]", await client.threads.get(thread_id))
            state = await _state_of(client, thread_id)
        kept = cast("dict[str, Any]", state["values"] or {})
        return ThreadState(thread["status"], thread["values"] or {}, kept, state["next"])

    states = await asyncio.gather(*(state_of(thread_id) for thread_id in thread_ids))
    return dict(zip(thread_ids, states, strict=True))


async def _state_of(client: LangGraphClient, thread_id: str, tries: int = 5) -> Any:
    """A connection that fell silent during the round is found out by the first who uses it: whoever gets 503 asks again."""
    try:
        return await client.threads.get_state(thread_id)
    except InternalServerError:
        if tries == 1:
            raise
        return await _state_of(client, thread_id, tries - 1)


async def streams_of(redis: Redis, run_ids: list[str]) -> dict[str, list[Streamed]]:
    found: dict[str, list[Streamed]] = {}
    for run_id in run_ids:
        entries = cast("list[Any]", await redis.xrange(stream_key(run_id)))
        batches = [arrived(fields[b"b"]) for _, fields in entries]
        events = [event for batch in batches if batch is not None for event in batch.events]
        if events:
            found[run_id] = [Streamed(e.id.attempt, e.id.n, e.event, json.loads(e.data)) for e in events]
    return found


async def published(client: Nats, created: Any) -> list[Published] | None:
    """The lifecycle events that NATS keeps; None when its stream is not the one that the round began with."""
    stream = client.jetstream()
    try:
        info = await stream.stream_info(EVENTS_STREAM)
    except NotFoundError:
        return None
    if info.created != created:
        return None
    told: list[Published] = []
    heard = await stream.subscribe("treadle.events.runs.>", ordered_consumer=True)
    for _ in range(info.state.messages):
        event = json.loads((await heard.next_msg(timeout=10)).data)
        told.append(Published(event["run_id"], event["thread_id"], event["attempt"], event["status"]))
    return told


async def events_created(client: Nats) -> Any:
    """What tells a stream from one that was made anew after NATS lost its data."""
    return (await client.jetstream().stream_info(EVENTS_STREAM)).created


def processes_left(before: set[int]) -> dict[str, list[str]]:
    """Children of this process that were not there before."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    return {
        "processes": [
            f"{child.pid} {child.name()}"
            for child in children
            if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE
        ]
    }
