"""Attempts that follow each other, and the end of a run."""

from __future__ import annotations

import asyncio
import threading
from uuid import UUID

import pytest
from redis.asyncio import Redis

from tests.integration.streaming.ends import (
    SUCCESS,
    eventually,
    held,
    ids,
    numbered,
    rest,
    take,
    write,
)
from treadle.errors import Fenced
from treadle.streaming import (
    EventHub,
    EventId,
    EventPublisher,
    StreamLimits,
    publish_end,
)
from treadle.streaming.event import stream_key

pytestmark = pytest.mark.timeout(60)


async def test_the_news_that_an_attempt_has_begun_goes_with_what_it_says_first(
    publisher: EventPublisher, hub: EventHub, redis: Redis, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as live:
        writer.write("metadata", b"{}")
        await asyncio.sleep(0)  # the publisher hears of it
        writer.write("values", b"{}")
        await take(live, 2)
    assert await redis.xlen(stream_key(run_id)) == 1
    await writer.close(SUCCESS)


async def test_a_takeover_announces_the_new_attempt(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    old, new = publisher.writer(run_id, 1, held), publisher.writer(run_id, 2, held)
    async with hub.watch(run_id) as live:
        old.write("metadata", b'{"attempt":1}')
        old.write("values", b"{}")
        seen = await take(live, 2)
        new.write("metadata", b'{"attempt":2}')
        await new.close(SUCCESS)
        seen += await rest(live)
    async with hub.watch(run_id) as late:
        assert await rest(late) == seen
    assert [(str(event.id), event.event) for event in seen] == [
        ("1-0", "metadata"),
        ("1-1", "values"),
        ("2-0", "metadata"),
    ]


async def test_what_a_zombie_attempt_writes_is_refused_and_nobody_sees_it(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    zombie, new = publisher.writer(run_id, 1, held), publisher.writer(run_id, 2, held)
    async with hub.watch(run_id) as live:
        zombie.write("metadata", b"{}")
        seen = await take(live, 1)
        new.write("metadata", b"{}")
        seen += await take(live, 1)

        write(zombie, 300, b'"from the grave"')
        await zombie.close(None)
        assert zombie.fenced
        with pytest.raises(Fenced, match="Attempt 1 of run"):
            zombie.write("values", b"{}")
        with pytest.raises(Fenced):
            await zombie.ready()

        new.write("values", b"{}")
        await new.close(SUCCESS)
        seen += await rest(live)
    async with hub.watch(run_id) as late:
        assert await rest(late) == seen
    assert ids(seen) == [EventId(1, 0), EventId(2, 0), EventId(2, 1)]


async def test_a_zombie_cannot_end_the_run(publisher: EventPublisher, hub: EventHub, run_id: UUID) -> None:
    zombie, new = publisher.writer(run_id, 1, held), publisher.writer(run_id, 2, held)
    async with hub.watch(run_id) as subscription:
        new.write("metadata", b"{}")
        await take(subscription, 1)
        await zombie.close({"status": "error"})
        await new.close(SUCCESS)
        assert await rest(subscription) == []
        assert subscription.end == SUCCESS


async def test_nothing_is_sent_once_the_lease_is_over(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    lease = threading.Event()
    lease.set()
    writer = publisher.writer(run_id, 1, lease.is_set)
    async with hub.watch(run_id) as subscription:
        writer.write("metadata", b"{}")
        await take(subscription, 1)
        lease.clear()
        write(writer, 3)
        await writer.close(None)
        assert writer.fenced
        hub.end(run_id, SUCCESS)
        assert await rest(subscription) == []


async def test_the_end_is_announced_though_the_lease_has_run_out_since_the_commit(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    lease = threading.Event()
    lease.set()
    writer = publisher.writer(run_id, 1, lease.is_set)
    async with hub.watch(run_id) as subscription:
        writer.write("metadata", b"{}")
        await take(subscription, 1)
        lease.clear()
        await writer.close(SUCCESS)
        assert await rest(subscription) == []
        assert subscription.end == SUCCESS


async def test_a_handed_back_run_goes_on_for_its_watchers(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    drained, next_worker = publisher.writer(run_id, 1, held), publisher.writer(run_id, 2, held)
    async with hub.watch(run_id) as subscription:
        write(drained, 3)
        await drained.close(None)
        write(next_worker, 2)
        await next_worker.close(SUCCESS)
        assert ids(await rest(subscription)) == numbered(1, range(3)) + numbered(2, range(2))


async def test_the_end_of_a_run_that_no_worker_has_reaches_its_watchers(
    redis: Redis, publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    async with hub.watch(run_id) as subscription:
        crashed = publisher.writer(run_id, 1, held)
        crashed.write("metadata", b"{}")
        await take(subscription, 1)
        error = ("error", b'{"error":"RetriesExhausted"}')
        await publish_end(redis, run_id, 2, {"status": "error"}, StreamLimits(), events=[error])
        [event] = await rest(subscription)
        assert (event.id, event.event, event.data) == (EventId(2, 0), *error)
        assert subscription.end == {"status": "error"}

        crashed.write("values", b"{}")
        await crashed.close(None)
        assert crashed.fenced


async def test_hub_end_gives_what_the_stream_still_has_and_then_ends(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    """Protects: a run whose end marker was lost ends for its watchers when Postgres says so."""
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as one, hub.watch(run_id) as other:
        write(writer, 1000)
        await writer.close(None)
        hub.end(run_id, SUCCESS)
        for subscription in (one, other):
            assert ids(await rest(subscription)) == numbered(1, range(1000))
            assert subscription.end == SUCCESS
    hub.end(run_id, SUCCESS)  # nobody watches: nothing happens


async def test_hub_end_wakes_whoever_waits(hub: EventHub, run_id: UUID) -> None:
    async with hub.watch(run_id) as subscription, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(rest(subscription))
        await asyncio.sleep(0)
        hub.end(run_id, SUCCESS)
        assert await waiting == []


async def test_an_ended_run_is_kept_for_a_shorter_time(redis: Redis, run_id: UUID) -> None:
    async with EventPublisher(redis, StreamLimits(ttl_secs=1000, ended_ttl_secs=50)) as publisher:
        writer = publisher.writer(run_id, 1, held)
        writer.write("metadata", b"{}")
        await eventually(lambda: writer.cut() is None)
        assert 50 < await redis.ttl(stream_key(run_id)) <= 1000
        await writer.close(SUCCESS)
        assert 0 < await redis.ttl(stream_key(run_id)) <= 50
