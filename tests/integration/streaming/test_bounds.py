"""What is kept, and for how long; slow clients and a slow Redis."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tests.integration.streaming.ends import (
    PATIENCE_SECS,
    SUCCESS,
    both_ends,
    connected,
    held,
    ids,
    in_bursts,
    numbered,
    rest,
    take,
    write,
)
from treadle.dev.servers import EmbeddedValkey
from treadle.streaming import (
    Event,
    EventHub,
    EventId,
    EventPublisher,
    EventsLost,
    StreamLimits,
)
from treadle.streaming.event import stream_key

pytestmark = pytest.mark.timeout(60)


async def test_redis_keeps_no_more_than_the_bound(redis: Redis, hub: EventHub, run_id: UUID) -> None:
    async with EventPublisher(redis, StreamLimits(max_batches=50)) as publisher:
        writer = publisher.writer(run_id, 1, held)
        write(writer, 256 * 300)
        await writer.close(SUCCESS)
    assert await redis.xlen(stream_key(run_id)) <= 150  # Redis drops them by the hundred
    async with hub.watch(run_id) as subscription:
        kept = ids(await rest(subscription))
    assert kept[0] > EventId(1, 0)
    assert kept == numbered(1, range(kept[0].n, kept[-1].n + 1))


async def test_a_watcher_from_the_start_that_fell_too_far_behind_is_told(
    redis: Redis, publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with EventHub(redis, queue_bytes=1) as narrow, narrow.watch(run_id, new=True) as slow:
        async with hub.watch(run_id, new=True) as quick, narrow.watch(run_id) as beside:
            for _ in range(10):
                writer.write("values", b"{}")
                await take(quick, 1)
                await take(beside, 1)
        await redis.xtrim(stream_key(run_id), maxlen=4, approximate=False)
        with pytest.raises(EventsLost):
            await rest(slow)


async def test_a_client_is_told_when_what_it_misses_was_dropped(
    redis: Redis, publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as subscription:
        for _ in range(10):  # one batch each
            writer.write("values", b"{}")
            await take(subscription, 1)
    await redis.xtrim(stream_key(run_id), maxlen=4, approximate=False)

    for after in (EventId(1, 0), EventId(1, 4)):
        async with hub.watch(run_id, after) as subscription:
            with pytest.raises(EventsLost, match=str(run_id)) as lost:
                await rest(subscription)
            assert lost.value.last_id == after
            assert lost.value.run_id == str(run_id)
            assert lost.value.status == 410
    await writer.close(SUCCESS)
    async with hub.watch(
        run_id
    ) as subscription:  # it has seen nothing, so it misses nothing that it counts on
        assert ids(await rest(subscription)) == numbered(1, range(6, 10))
    for last in (5, 6, 9):
        async with hub.watch(run_id, EventId(1, last)) as subscription:
            assert ids(await rest(subscription)) == numbered(1, range(last + 1, 10))


async def test_a_slow_client_keeps_little_in_memory_and_catches_up(
    valkey: EmbeddedValkey, publisher: EventPublisher, run_id: UUID
) -> None:
    bound = 1_000_000
    async with connected(valkey) as client, EventHub(client, queue_bytes=bound) as hub:
        writer = publisher.writer(run_id, 1, held)
        async with hub.watch(run_id) as slow, hub.watch(run_id) as quick:
            kept: list[int] = []
            writer.write("metadata", b"{}")
            await take(slow, 1)
            await take(quick, 1)
            for _ in range(50):
                write(writer, 100, b'"%b"' % (b"x" * 1000))
                await take(quick, 100)
                kept.append(slow.queued_bytes)
            await writer.close(SUCCESS)
            assert bound / 2 < max(kept) <= bound
            assert ids(await rest(slow)) == numbered(1, range(1, 5001))


async def test_a_producer_waits_for_a_redis_that_is_slow(own_valkey: EmbeddedValkey, run_id: UUID) -> None:
    async with both_ends(own_valkey, StreamLimits(backlog_bytes=10_000)) as (publisher, hub):
        writer = publisher.writer(run_id, 1, held)
        async with hub.watch(run_id) as subscription:
            assert own_valkey.pid is not None
            os.kill(own_valkey.pid, signal.SIGSTOP)
            write(writer, 100, b"x" * 1000)
            waiting = asyncio.create_task(writer.ready())
            assert await asyncio.wait([waiting], timeout=0.1) == (set(), {waiting})
            os.kill(own_valkey.pid, signal.SIGCONT)
            async with asyncio.timeout(PATIENCE_SECS):
                await waiting
            await writer.close(SUCCESS)
            assert ids(await rest(subscription)) == numbered(1, range(100))


async def test_a_writer_may_be_used_from_another_threads_loop(
    redis: Redis, hub: EventHub, run_id: UUID
) -> None:
    async with EventPublisher(redis, StreamLimits(backlog_bytes=20_000)) as publisher:
        writer = publisher.writer(run_id, 1, held)

        async def graph() -> None:
            for _ in range(3000):
                writer.write("values", b"x" * 100)
                await writer.ready()
            await writer.close(SUCCESS)

        async with hub.watch(run_id) as subscription, asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(asyncio.run, graph()))
            assert ids(await rest(subscription)) == numbered(1, range(3000))
        assert writer.dropped == 0


async def test_many_runs_share_a_publisher_and_a_hub(publisher: EventPublisher, hub: EventHub) -> None:
    async def run() -> list[Event]:
        run_id = uuid4()
        async with hub.watch(run_id, new=True) as subscription:
            writer = publisher.writer(run_id, 1, held)
            for _ in range(20):
                write(writer, 3)
                await asyncio.sleep(0)
            await writer.close({"run": str(run_id)})
            events = await rest(subscription)
            assert subscription.end == {"run": str(run_id)}
            return events

    for events in await asyncio.gather(*(run() for _ in range(100))):
        assert ids(events) == numbered(1, range(60))


async def test_cancelling_a_read_loses_nothing(
    valkey: EmbeddedValkey, publisher: EventPublisher, run_id: UUID
) -> None:
    """The small queue makes it read the Stream, too, so both ways of taking events are cancelled."""
    writer = publisher.writer(run_id, 1, held)
    seen: list[Event] = []
    async with (
        connected(valkey) as client,
        EventHub(client, queue_bytes=10_000) as hub,
        hub.watch(run_id) as subscription,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(in_bursts(writer)).add_done_callback(
            lambda _: tasks.create_task(writer.close(SUCCESS))
        )
        cancelled = 0
        while subscription.end is None:
            try:
                async with asyncio.timeout(random.uniform(0, 0.003)):
                    seen += await subscription.next_batch() or []
            except TimeoutError:
                cancelled += 1
    assert cancelled > 20
    assert ids(seen) == numbered(1, range(len(seen)))
    async with connected(valkey) as client, EventHub(client) as hub, hub.watch(run_id) as again:
        assert await rest(again) == seen
