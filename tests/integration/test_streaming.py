"""Live events over a real Valkey: each event once, in order, without a gap, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tests.chaos.proxy import Plain, Proxy
from treadle.dev.servers import EmbeddedValkey
from treadle.errors import Fenced, Unavailable
from treadle.model import CancelAction
from treadle.streaming import (
    HEARTBEAT,
    CancelBus,
    Event,
    EventHub,
    EventId,
    EventPublisher,
    EventsLost,
    EventWriter,
    StreamLimits,
    Subscription,
    connect,
    encode,
    frames,
    publish_end,
)
from treadle.streaming.append import Entry, Outcome, append
from treadle.streaming.event import live_channel, stream_key
from treadle.streaming.hub import REST_SECS

SUCCESS = {"status": "success"}
PATIENCE_SECS = 20.0

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def a_valkey() -> AsyncGenerator[EmbeddedValkey]:
    with tempfile.TemporaryDirectory(prefix="treadle-test-") as directory:
        async with EmbeddedValkey(Path(directory)) as server:
            yield server


@pytest.fixture(scope="session")
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    """For the tests that leave it running."""
    async with a_valkey() as server:
        yield server


@pytest.fixture
async def own_valkey() -> AsyncIterator[EmbeddedValkey]:
    """For a test that stops it."""
    async with a_valkey() as server:
        yield server


@pytest.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with connected(valkey) as client:
        yield client


@pytest.fixture
async def publisher(redis: Redis) -> AsyncIterator[EventPublisher]:
    async with EventPublisher(redis) as publisher:
        yield publisher


@pytest.fixture
async def hub(valkey: EmbeddedValkey) -> AsyncIterator[EventHub]:
    """The hub of another process: with a Redis connection of its own."""
    async with connected(valkey) as client, EventHub(client) as hub:
        yield hub


@pytest.fixture
def run_id() -> UUID:
    return uuid4()


@asynccontextmanager
async def connected(server: EmbeddedValkey) -> AsyncGenerator[Redis]:
    client = connect(server.url)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def both_ends(
    server: EmbeddedValkey, limits: StreamLimits | None = None, rest_secs: float = REST_SECS
) -> AsyncGenerator[tuple[EventPublisher, EventHub]]:
    """A worker's publisher and an API's hub, as in two processes."""
    async with (
        connected(server) as workers,
        connected(server) as apis,
        EventPublisher(workers, limits) as publisher,
        EventHub(apis, rest_secs=rest_secs) as hub,
    ):
        yield publisher, hub


async def kill(server: EmbeddedValkey) -> None:
    """Its state is lost, as is what was on the way."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


async def eventually(condition: Callable[[], bool]) -> None:
    """For what nobody announces."""
    async with asyncio.timeout(PATIENCE_SECS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def held() -> bool:
    """A lease that is never lost."""
    return True


def write(writer: EventWriter, count: int, data: bytes = b"{}") -> None:
    for _ in range(count):
        writer.write("values", data)


def ids(events: Iterable[Event]) -> list[EventId]:
    return [event.id for event in events]


def numbered(attempt: int, numbers: range) -> list[EventId]:
    return [EventId(attempt, n) for n in numbers]


async def rest(subscription: Subscription) -> list[Event]:
    async with asyncio.timeout(PATIENCE_SECS):
        return [event async for event in subscription]


async def take(subscription: Subscription, count: int) -> list[Event]:
    """At least so many events."""
    taken: list[Event] = []
    async with asyncio.timeout(PATIENCE_SECS):
        while len(taken) < count:
            events = await subscription.next_batch()
            assert events is not None
            taken += events
    return taken


# Joining.


async def steadily(writer: EventWriter) -> None:
    for _ in range(200):
        writer.write("values", b"{}")
        await asyncio.sleep(0.005)


async def in_bursts(writer: EventWriter) -> None:
    for _ in range(40):
        write(writer, random.randrange(1, 400))
        await asyncio.sleep(random.uniform(0, 0.05))


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
        [(_, listeners)] = await cast(Any, redis.pubsub_numsub(live_channel(run_id)))
        assert listeners == 1
    async with hub.watch(uuid4()), hub.watch(uuid4()):  # confirmed after the former was given up
        [(_, listeners)] = await cast(Any, redis.pubsub_numsub(live_channel(run_id)))
        assert listeners == 0


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


# Attempts.


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


# The end.


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


# What is no longer kept.


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


# Back-pressure.


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


# Redis goes away.


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


# Frames.


async def test_frames_carry_the_run_with_heartbeats_in_its_silences(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as subscription, asyncio.timeout(PATIENCE_SECS):
        stream = frames(subscription, 0.05)
        assert await anext(stream) == HEARTBEAT
        writer.write("metadata", b'{"run_id":1}')
        assert await anext(stream) == encode(Event(EventId(1, 0), "metadata", b'{"run_id":1}'))
        assert await anext(stream) == HEARTBEAT
        assert await anext(stream) == HEARTBEAT
        write(writer, 2)
        await writer.close(SUCCESS)
        last = b"".join([chunk async for chunk in stream if chunk != HEARTBEAT])
        assert last == b"".join(encode(Event(EventId(1, n), "values", b"{}")) for n in (1, 2))


async def test_frames_may_go_without_ids(publisher: EventPublisher, hub: EventHub, run_id: UUID) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as subscription:
        writer.write("metadata", b"{}")
        await writer.close(SUCCESS)
        stream = frames(subscription, PATIENCE_SECS, with_id=False)
        assert [chunk async for chunk in stream] == [b"event: metadata\r\ndata: {}\r\n\r\n"]


# The cancel signal.


async def listened(redis: Redis, listeners: int) -> None:
    """Wait until so many listen for cancels."""
    async with asyncio.timeout(PATIENCE_SECS):
        while (await cast(Any, redis.pubsub_numsub("treadle:cancel")))[0][1] < listeners:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_every_worker_hears_a_cancel(valkey: EmbeddedValkey, redis: Redis, run_id: UUID) -> None:
    bus = CancelBus(redis)

    async def worker() -> tuple[UUID, CancelAction]:
        async with connected(valkey) as client, aclosing(CancelBus(client).listen()) as signals:
            signal = await anext(signals)
            return signal.run_id, signal.action

    async with asyncio.timeout(PATIENCE_SECS), asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(worker()) for _ in range(2)]
        await listened(redis, len(workers))
        await cast(Any, redis.publish("treadle:cancel", b"noise"))
        await bus.publish(run_id, CancelAction.ROLLBACK)
    assert [task.result() for task in workers] == [(run_id, CancelAction.ROLLBACK)] * 2


async def test_cancels_are_heard_again_when_redis_is_back(own_valkey: EmbeddedValkey, run_id: UUID) -> None:
    async with (
        connected(own_valkey) as client,
        connected(own_valkey) as workers,
        aclosing(CancelBus(workers).listen()) as signals,
        asyncio.timeout(PATIENCE_SECS),
    ):
        bus = CancelBus(client)
        heard = asyncio.ensure_future(anext(signals))
        await listened(client, 1)
        await kill(own_valkey)
        with pytest.raises(Unavailable, match="recorded"):
            await bus.publish(run_id, CancelAction.INTERRUPT)
        await own_valkey.start()
        await listened(client, 1)
        await bus.publish(run_id, CancelAction.INTERRUPT)
        assert (await heard).run_id == run_id
