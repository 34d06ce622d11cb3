"""Whoever joins a run at any moment sees each event once, in order, without a gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tests.integration.streaming.ends import (
    PATIENCE_SECS,
    SUCCESS,
    both_ends,
    held,
    ids,
    in_bursts,
    numbered,
    rest,
    steadily,
    take,
    write,
)
from treadle.dev.servers import EmbeddedValkey
from treadle.streaming import (
    Event,
    EventHub,
    EventId,
    EventPublisher,
    EventWriter,
)
from treadle.streaming.event import live_channel

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("produce", [steadily, in_bursts])
async def test_whoever_joins_at_any_moment_sees_each_event_once_in_order_without_a_gap(
    produce: Callable[[EventWriter], Any], publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    writer.write("metadata", b"{}")

    async def join(delay: float, after: EventId | None) -> list[Event]:
        await asyncio.sleep(delay)
        async with hub.watch(run_id, after) as subscription:
            return await rest(subscription)

    starts = [None if n % 2 else EventId(1, random.randrange(100)) for n in range(50)]
    async with asyncio.TaskGroup() as tasks:
        joins = [tasks.create_task(join(random.uniform(0, 1), after)) for after in starts]
        await produce(writer)
        await writer.close(SUCCESS)

    last = joins[1].result()[-1].id.n
    assert last >= 200
    for after, task in zip(starts, joins, strict=True):
        first = 0 if after is None else after.n + 1
        assert ids(task.result()) == numbered(1, range(first, last + 1))


async def test_a_client_resumes_after_any_event(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    first, second = publisher.writer(run_id, 1, held), publisher.writer(run_id, 2, held)
    write(first, 300)
    await first.close(None)
    write(second, 10)
    await second.close(SUCCESS)

    everything = numbered(1, range(300)) + numbered(2, range(10))
    for seen in (0, 1, 255, 256, 298, 299, 300, 308):
        async with hub.watch(run_id, everything[seen]) as subscription:
            assert ids(await rest(subscription)) == everything[seen + 1 :]
            assert subscription.end == SUCCESS


async def test_watching_a_run_that_is_not_created_yet_sees_all_of_it(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    async with hub.watch(run_id, new=True) as subscription:
        writer = publisher.writer(run_id, 1, held)
        write(writer, 3)
        await writer.close(SUCCESS)
        assert ids(await rest(subscription)) == numbered(1, range(3))


async def test_live_only_begins_with_what_is_published_after_watch_has_returned(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as all_along:
        write(writer, 5)
        await take(all_along, 5)
        async with hub.watch(run_id, live_only=True) as subscription:
            write(writer, 5)
            await take(all_along, 5)
            await writer.close(SUCCESS)
            assert ids(await rest(subscription)) == numbered(1, range(5, 10))


async def test_live_only_of_a_run_that_has_ended_ends_at_once(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    write(writer, 5)
    await writer.close(SUCCESS)
    async with hub.watch(run_id, live_only=True) as subscription:
        assert await rest(subscription) == []
        assert subscription.end == SUCCESS


async def test_live_only_of_a_run_that_has_not_begun_sees_all_of_it(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    async with hub.watch(run_id, live_only=True) as subscription:
        writer = publisher.writer(run_id, 1, held)
        write(writer, 3)
        await writer.close(SUCCESS)
        assert ids(await rest(subscription)) == numbered(1, range(3))


async def test_coming_and_going_watchers_of_one_run_do_not_disturb_each_other(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    """Protects: a confirmation never belongs to an earlier subscription of the same channel."""
    writer = publisher.writer(run_id, 1, held)
    count = 1
    writer.write("metadata", b"{}")
    async with asyncio.timeout(PATIENCE_SECS):
        for _ in range(100):
            async with hub.watch(run_id) as subscription:
                seen = await take(subscription, count)
                write(writer, 2)
                count += 2
                seen += await take(subscription, count - len(seen))
                assert ids(seen) == numbered(1, range(count))
    await writer.close(SUCCESS)


async def test_the_hub_gives_up_the_channels_that_nobody_watches(
    redis: Redis, hub: EventHub, run_id: UUID
) -> None:
    async with hub.watch(run_id):
        assert await listeners_of(redis, run_id) == 1
    async with hub.watch(uuid4()), asyncio.timeout(PATIENCE_SECS):
        while await listeners_of(redis, run_id):  # Redis tells nobody when a channel is given up
            continue


async def test_a_channel_that_is_watched_again_before_it_is_given_up_is_kept(
    redis: Redis, hub: EventHub, run_id: UUID
) -> None:
    other = uuid4()
    async with hub.watch(run_id), hub.watch(other):
        pass
    async with hub.watch(run_id), asyncio.timeout(PATIENCE_SECS):
        while await listeners_of(redis, other):  # Redis tells nobody when a channel is given up
            continue
        assert await listeners_of(redis, run_id) == 1


async def listeners_of(redis: Redis, run_id: UUID) -> int:
    """How many connections listen to a run."""
    [(_, listeners)] = await cast(Any, redis.pubsub_numsub(live_channel(run_id)))
    return listeners


async def test_hub_and_publisher_stop_at_any_moment(valkey: EmbeddedValkey) -> None:
    """Protects: a stop is heard though a command is just going out (redis-py's own timeouts swallow it)."""
    async with asyncio.timeout(PATIENCE_SECS):
        for turns in range(100):
            run_id = uuid4()
            async with both_ends(valkey) as (publisher, hub):
                async with hub.watch(run_id):
                    publisher.writer(run_id, 1, held).write("metadata", b"{}")
                for _ in range(turns % 10):
                    await asyncio.sleep(0)
