"""Connections are lost, Redis goes away, and comes back empty."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tests.chaos.proxy import Plain, Proxy
from tests.integration.streaming.ends import (
    PATIENCE_SECS,
    SUCCESS,
    a_valkey,
    both_ends,
    connected,
    eventually,
    held,
    ids,
    kill,
    numbered,
    rest,
    take,
    write,
)
from treadle.dev.servers import EmbeddedValkey
from treadle.errors import Unavailable
from treadle.streaming import (
    EventHub,
    EventId,
    EventPublisher,
    StreamLimits,
    connect,
    publish_end,
)
from treadle.streaming.append import Entry, Outcome, append
from treadle.streaming.event import live_channel, stream_key

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
async def test_lost_connections_cost_no_event(kind: str, run_id: UUID) -> None:
    """Protects: what is sent again after a lost answer is not seen twice; each reconnect is followed by a read."""
    async with a_valkey() as server, connected(server) as admin, both_ends(server) as (publisher, hub):
        writer = publisher.writer(run_id, 1, held)
        async with hub.watch(run_id) as subscription, asyncio.TaskGroup() as tasks:
            seen = tasks.create_task(rest(subscription))
            for _ in range(100):
                write(writer, 20)
                await asyncio.sleep(random.uniform(0, 0.01))
                if random.random() < 0.2:
                    await admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await writer.close(SUCCESS)
        assert ids(seen.result()) == numbered(1, range(2000))
        assert subscription.end == SUCCESS


async def test_what_is_sent_again_after_a_lost_answer_is_written_once(
    redis: Redis, hub: EventHub, run_id: UUID
) -> None:
    sent = Entry.of(run_id, 1, [(0, "metadata", b"{}")], StreamLimits())
    late = Entry.of(run_id, 1, [(1, "values", b"{}")], StreamLimits())
    async with hub.watch(run_id) as subscription:
        assert [await append(redis, [entry]) for entry in (sent, sent, late, late)] == [[Outcome.WRITTEN]] * 4
        assert await redis.xlen(stream_key(run_id)) == 2
        hub.end(run_id, SUCCESS)
        assert ids(await rest(subscription)) == numbered(1, range(2))


async def test_a_message_that_went_missing_is_read_from_the_stream(
    redis: Redis, hub: EventHub, run_id: UUID
) -> None:
    first, missing, last = (Entry.of(run_id, 1, [(n, "values", b"{}")], StreamLimits()) for n in range(3))
    async with hub.watch(run_id) as subscription:
        await append(redis, [first])
        seen = await take(subscription, 1)
        await cast(Any, redis.xadd(stream_key(run_id), {"b": missing.payload}, id=str(missing.id)))
        await append(redis, [last])
        seen += await take(subscription, 2)
        assert ids(seen) == numbered(1, range(3))


async def test_a_flushed_redis_costs_those_who_watch_nothing(run_id: UUID) -> None:
    async with a_valkey() as server, connected(server) as admin, both_ends(server) as (publisher, hub):
        writer = publisher.writer(run_id, 1, held)
        async with hub.watch(run_id) as subscription:
            write(writer, 10)
            await take(subscription, 10)
            await cast(Any, admin.flushall())
            await cast(Any, admin.script_flush())
            write(writer, 10)
            async with hub.watch(run_id) as late:
                await writer.close(SUCCESS)
                assert ids(await rest(subscription)) == numbered(1, range(10, 20))
                assert ids(await rest(late)) == numbered(1, range(10, 20))


async def test_a_killed_redis_that_comes_back_empty_costs_those_who_watch_nothing(
    own_valkey: EmbeddedValkey, run_id: UUID
) -> None:
    async with both_ends(own_valkey) as (publisher, hub):
        writer = publisher.writer(run_id, 1, held)
        async with hub.watch(run_id) as live, hub.watch(run_id, live_only=True) as quiet:
            write(writer, 10)
            await take(live, 10)
            await kill(own_valkey)
            write(writer, 10)
            await eventually(lambda: not publisher.connected and not hub.connected)
            await own_valkey.start()
            await eventually(lambda: hub.connected)
            async with hub.watch(run_id) as late:
                write(writer, 10)
                await writer.close(SUCCESS)
                assert ids(await rest(live)) == numbered(1, range(10, 30))
                # Those who had not taken everything go on with what is kept, and are not cut off.
                assert ids(await rest(late)) == numbered(1, range(10, 30))
                assert ids(await rest(quiet))[-20:] == numbered(1, range(10, 30))
        assert publisher.connected
        assert writer.dropped == 0


async def test_runs_go_on_without_redis_and_their_watchers_learn_the_end_from_postgres(
    own_valkey: EmbeddedValkey, run_id: UUID
) -> None:
    limits = StreamLimits(buffer_bytes=100_000, backlog_bytes=1000, close_secs=0.2)
    async with (
        both_ends(own_valkey, limits, rest_secs=0.2) as (publisher, hub),
        hub.watch(run_id) as subscription,
    ):
        writer = publisher.writer(run_id, 1, held)
        writer.write("metadata", b"{}")
        await take(subscription, 1)
        await kill(own_valkey)
        async with asyncio.timeout(PATIENCE_SECS):
            for _ in range(200):
                writer.write("values", b"x" * 1000)
                await writer.ready()
        assert writer.dropped > 0
        began = time.monotonic()
        await writer.close(SUCCESS)
        assert time.monotonic() - began < 1
        hub.end(run_id, SUCCESS)
        assert await rest(subscription) == []
        assert subscription.end == SUCCESS


async def test_whoever_is_cut_off_from_redis_as_a_run_ends_gets_the_rest_of_it(
    valkey: EmbeddedValkey, publisher: EventPublisher, run_id: UUID
) -> None:
    """One who wants to know of the end only (`live_only`) does not wait for it."""
    network = Proxy(lambda: valkey.url)
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_SECS):
        await stack.enter_async_context(network.listening())
        client = connect(network.url)
        stack.push_async_callback(client.aclose)
        hub = await stack.enter_async_context(EventHub(client, rest_secs=PATIENCE_SECS))
        subscription = await stack.enter_async_context(hub.watch(run_id))
        result = await stack.enter_async_context(hub.watch(run_id, live_only=True))
        writer = publisher.writer(run_id, 1, held)
        write(writer, 1)
        await take(subscription, 1)
        await take(result, 1)
        async with network.turned(Plain.CUT):
            await eventually(lambda: not hub.connected)
            write(writer, 3)
            await writer.close(SUCCESS)
            hub.end(run_id, SUCCESS)
            assert await rest(result) == []
            reading = asyncio.create_task(rest(subscription))
            asked = network.asked
            await eventually(lambda: network.asked > asked + 3)
            assert not reading.done()
        assert ids(await reading) == numbered(1, range(1, 4))


async def test_what_is_kept_of_a_run_is_read_once_redis_can_be_reached_again(
    valkey: EmbeddedValkey, publisher: EventPublisher, run_id: UUID
) -> None:
    network = Proxy(lambda: valkey.url)
    writer = publisher.writer(run_id, 1, held)
    write(writer, 3)
    await writer.close(SUCCESS)
    async with network.listening(), asyncio.timeout(PATIENCE_SECS):
        client = connect(network.url)
        async with aclosing(client), EventHub(client, rest_secs=PATIENCE_SECS) as hub:
            async with network.turned(Plain.CUT):
                await eventually(lambda: not hub.connected)
                reading = asyncio.create_task(rest(hub.kept(run_id, SUCCESS)))
                asked = network.asked
                await eventually(lambda: network.asked > asked + 3)
                assert not reading.done()
            assert ids(await reading) == numbered(1, range(3))


async def test_runs_that_ended_in_an_outage_are_waited_for_side_by_side(own_valkey: EmbeddedValkey) -> None:
    rest_secs = 3.0
    async with both_ends(own_valkey, rest_secs=rest_secs) as (_, hub):
        await kill(own_valkey)
        await eventually(lambda: not hub.connected)
        began = time.monotonic()
        for _ in range(5):
            assert await rest(hub.kept(uuid4(), SUCCESS)) == []
            async with hub.watch(run_id := uuid4()) as subscription:
                hub.end(run_id, SUCCESS, secs_ago=rest_secs)
                assert await rest(subscription) == []
        assert time.monotonic() - began < 2 * rest_secs


async def test_events_that_were_dropped_leave_no_gap_in_the_ids(
    own_valkey: EmbeddedValkey, run_id: UUID
) -> None:
    limits = StreamLimits(buffer_bytes=100_000)
    async with both_ends(own_valkey, limits) as (publisher, hub), hub.watch(run_id) as subscription:
        writer = publisher.writer(run_id, 1, held)
        await kill(own_valkey)
        write(writer, 200, b"x" * 1000)
        await own_valkey.start()
        await writer.close(SUCCESS)
        assert ids(await rest(subscription)) == numbered(1, range(200 - writer.dropped))
        assert 100 < writer.dropped < 200


async def test_a_long_outage_does_not_hold_up_the_end_of_a_run(
    own_valkey: EmbeddedValkey, run_id: UUID
) -> None:
    limits = StreamLimits(close_secs=1)
    async with both_ends(own_valkey, limits) as (publisher, _):
        await kill(own_valkey)
        first = publisher.writer(run_id, 1, held)
        first.write("metadata", b"{}")
        await first.close(SUCCESS)
        second = publisher.writer(uuid4(), 1, held)
        second.write("metadata", b"{}")
        began = time.monotonic()
        await second.close(SUCCESS)
        assert time.monotonic() - began < limits.close_secs


@pytest.mark.parametrize("options", [{}, {"new": True}, {"live_only": True}])
async def test_whoever_watches_while_redis_is_away_sees_the_run_once_it_is_back(
    options: dict[str, Any], own_valkey: EmbeddedValkey, run_id: UUID
) -> None:
    await own_valkey.stop()
    async with both_ends(own_valkey) as (publisher, hub), asyncio.timeout(PATIENCE_SECS):
        began = time.monotonic()
        async with hub.watch(run_id, **options) as subscription:
            assert time.monotonic() - began < 1
            assert not hub.connected
            reading = asyncio.create_task(rest(subscription))
            await own_valkey.start()
            await eventually(lambda: hub.connected)
            async with hub.watch(run_id):  # on the same channel: it returns when that is confirmed
                writer = publisher.writer(run_id, 1, held)
                write(writer, 3)
                await writer.close(SUCCESS)
            assert ids(await reading) == numbered(1, range(3))


async def test_the_end_cannot_be_published_while_redis_is_away(
    own_valkey: EmbeddedValkey, run_id: UUID
) -> None:
    await own_valkey.stop()
    async with connected(own_valkey) as client:
        with pytest.raises(Unavailable, match=str(run_id)):
            await publish_end(client, run_id, 1, SUCCESS)


async def test_a_stopped_publisher_keeps_nobody_waiting(redis: Redis, run_id: UUID) -> None:
    async with EventPublisher(redis) as publisher:
        writer = publisher.writer(run_id, 1, held)
    assert not publisher.connected
    write(writer, 2000, b"x" * 1000)
    async with asyncio.timeout(0.5):
        await writer.ready()
        await writer.close(SUCCESS)


async def test_what_is_no_batch_is_skipped(
    redis: Redis, publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    async with hub.watch(run_id) as subscription:
        writer = publisher.writer(run_id, 1, held)
        await cast(Any, redis.publish(live_channel(run_id), b"hello"))
        writer.write("metadata", b"{}")
        await writer.close(SUCCESS)
        assert ids(await rest(subscription)) == [EventId(1, 0)]
