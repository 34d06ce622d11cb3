"""One subscription connection per API process, fanned out in memory to all who watch runs here."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self
from uuid import UUID

from redis.asyncio import Redis

from treadle.owned_task import OwnedTask
from treadle.streaming.batch import Batch, arrived
from treadle.streaming.connection import AWAY, Link
from treadle.streaming.event import EventId, live_channel, thread_channel
from treadle.streaming.history import History
from treadle.streaming.news import ThreadNews
from treadle.streaming.pubsub import Message, PubSubConnection, open_pubsub
from treadle.streaming.subscription import Subscription

QUEUE_BYTES = 4 * 1024 * 1024
# What all who watch share. Watchers of one run have its batches in common, so the runs are what counts.
HUB_BYTES = 32 * 1024 * 1024
LEAST_QUEUE_BYTES = 256 * 1024
# How long `watch` waits for Redis to confirm; a Redis that is known to be away is not waited for.
CONFIRM_SECS = 2.0
# A Redis that restarts, or is cut off for a moment, has the last events of a run that ended meanwhile once it is back.
REST_SECS = 5.0
# A channel that nobody watches any more is kept for so long at the most: to give each up at once would be a command and an answer
# for every run.
GIVE_UP_SECS = 0.1
# After this many messages in a row the other tasks of the process get their turn.
MESSAGES_IN_A_ROW = 64


class EventHub:
    """Gives each watcher of a run its events in order, each once, without a gap.

    Subscribe first, then read: `watch` waits until Redis confirms that it sends what comes next, and only
    then does the subscription read what was there before. The other order loses what is written in between.
    Each confirmation, be it the first or one after a reconnect, makes the subscription read.

    An async context manager: it owns the task that keeps the connection up.

    Args:
        queue_bytes: what a watcher who is slower than its run keeps in memory; then it reads from the Stream. It is less where
            many runs are watched.
        rest_secs: for how long the rest of a run that has ended is asked for while Redis is away: so long after the run ended,
            and so long after Redis went. So runs that end during one outage are waited for side by side.
    """

    def __init__(self, redis: Redis, *, queue_bytes: int = QUEUE_BYTES, rest_secs: float = REST_SECS) -> None:
        self._redis = redis
        self._history = History(redis)
        self._queue_bytes = queue_bytes
        self._rest_secs = rest_secs
        self._channels: dict[str, _Channel] = {}
        self._asked: set[str] = set()
        self._confirmed: set[str] = set()
        self._changed = asyncio.Event()
        self._asking = asyncio.Lock()
        self._link = Link("live events of this server")
        self._task = OwnedTask("event-hub", self._run)

    async def __aenter__(self) -> Self:
        self._task.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._task.stop()

    @property
    def connected(self) -> bool:
        """Whether what is published arrives here now."""
        return self._link.connected is True

    @asynccontextmanager
    async def watch(
        self, run_id: UUID | str, after: EventId | None = None, *, live_only: bool = False, new: bool = False
    ) -> AsyncGenerator[Subscription]:
        """Watch a run; it need not exist yet.

        When Redis is away this does not fail: the subscription goes on when it is back, `connected` tells.

        Args:
            after: the last event that the client has seen; None: from the oldest that is kept.
            live_only: only what is published from now on. Ends at once when the run has ended.
            new: the run has not been created yet, so there is nothing to catch up with.
        """
        subscription = Subscription(
            self._history,
            str(run_id),
            after=after,
            live_only=live_only,
            new=new,
            queue_bytes=self._share,
        )
        async with self._watching(subscription):
            if self.connected:
                await subscription.begin()
            yield subscription

    def kept(self, run_id: UUID | str, end: dict[str, Any]) -> Subscription:
        """What is kept of a run that has long ended, from the oldest event; needs no watching.

        Args:
            end: the end marker's payload, should that be lost.
        """
        subscription = Subscription(
            self._history,
            str(run_id),
            after=None,
            live_only=False,
            new=False,
            queue_bytes=self._share,
        )
        subscription.close(end, self._rest(math.inf))
        return subscription

    @asynccontextmanager
    async def hear(self, thread_id: UUID | str, tenant: str) -> AsyncGenerator[ThreadNews]:
        """Hear of each run that begins on a tenant's thread from now on; the thread need not exist yet.

        As `watch`, this does not fail when Redis is away.
        """
        news = ThreadNews(thread_channel(thread_id, tenant))
        async with self._watching(news):
            yield news

    def end(self, run_id: UUID | str, payload: dict[str, Any], secs_ago: float = 0.0) -> None:
        """The run has ended, as Postgres says: its subscriptions here read what the Stream still has, then end.

        For an end marker that is overdue: the worker announces the end after it has committed it, so for a while
        (`StreamLimits.close_secs`) the last events may still be on their way.
        """
        if (channel := self._channels.get(live_channel(run_id))) is not None:
            for watcher in channel.watchers:
                watcher.close(payload, self._rest(secs_ago))

    def _rest(self, ended_secs: float) -> float:
        """For how long the rest of a run that ended so long ago is asked for yet, if Redis is away."""
        return max(0.0, self._rest_secs - min(ended_secs, self._link.away_secs))

    def _share(self) -> int:
        """What the watchers of one run may keep now."""
        return min(self._queue_bytes, max(LEAST_QUEUE_BYTES, HUB_BYTES // max(1, len(self._channels))))

    @asynccontextmanager
    async def _watching(self, watcher: _Watcher) -> AsyncGenerator[None]:
        channel = self._join(watcher)
        try:
            await self._settled(channel)
            yield
        finally:
            self._leave(channel, watcher)

    def _join(self, watcher: _Watcher) -> _Channel:
        name = watcher.channel
        if (channel := self._channels.get(name)) is None:
            channel = self._channels[name] = _Channel(name)
            self._changed.set()
        channel.watchers.add(watcher)
        if name in self._confirmed:
            watcher.subscribed()
            channel.settled.set()
        elif self._link.connected is False:
            channel.give_up()
        return channel

    async def _settled(self, channel: _Channel) -> None:
        """Wait until the channel is confirmed, or Redis turns out to be away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIRM_SECS):
                await channel.settled.wait()
                return
        channel.give_up()

    def _leave(self, channel: _Channel, watcher: _Watcher) -> None:
        channel.watchers.discard(watcher)
        if not channel.watchers:
            del self._channels[channel.name]

    # The connection.

    async def _run(self) -> None:
        while True:
            try:
                async with open_pubsub(self._redis) as connection:
                    self._up()
                    await self._serve(connection)
            except* AWAY as errors:
                self._down(errors.exceptions[0])
            await self._link.pause()

    async def _serve(self, connection: PubSubConnection) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive(connection), name="event-hub-receive")
            tasks.create_task(self._subscribe(connection), name="event-hub-subscribe")
            tasks.create_task(self._unsubscribe(connection), name="event-hub-unsubscribe")
            tasks.create_task(connection.probe(), name="event-hub-probe")

    async def _receive(self, connection: PubSubConnection) -> None:
        while True:
            for _ in range(MESSAGES_IN_A_ROW):
                match await connection.receive():
                    case Message(channel, payload):
                        self._message(channel, payload)
                    case heard:
                        self._confirm(heard.channel)
            await asyncio.sleep(0)

    async def _subscribe(self, connection: PubSubConnection) -> None:
        """Ask for the channels that are watched and were not asked for."""
        while True:
            self._changed.clear()
            async with self._asking:
                if missing := self._channels.keys() - self._asked:
                    self._asked |= missing
                    await connection.subscribe(missing)
            await self._changed.wait()

    async def _unsubscribe(self, connection: PubSubConnection) -> None:
        """Give up, many at a time, the channels that are watched no more.

        Only those that are confirmed, so that a confirmation never belongs to an earlier request than the last one.
        """
        while True:
            await asyncio.sleep(GIVE_UP_SECS)
            async with self._asking:
                if idle := self._confirmed - self._channels.keys():
                    self._asked -= idle
                    self._confirmed -= idle
                    await connection.unsubscribe(idle)

    def _message(self, name: str, payload: bytes) -> None:
        channel = self._channels.get(name)
        if channel is not None and (batch := arrived(payload)) is not None:
            for watcher in channel.watchers:
                watcher.offer(batch)

    def _confirm(self, name: str) -> None:
        self._confirmed.add(name)
        if (channel := self._channels.get(name)) is None:
            return
        for watcher in channel.watchers:
            watcher.subscribed()
        channel.settled.set()

    def _up(self) -> None:
        self._link.found()
        self._asked.clear()
        for channel in self._channels.values():
            channel.settled.clear()

    def _down(self, error: BaseException) -> None:
        self._link.lost(error)
        self._confirmed.clear()
        for channel in self._channels.values():
            channel.give_up()


class _Watcher(Protocol):
    """Who wants to know what comes on a channel: a `Subscription` to a run, or the `ThreadNews`."""

    @property
    def channel(self) -> str: ...
    def offer(self, batch: Batch) -> None: ...
    def subscribed(self) -> None: ...
    def unreachable(self) -> None: ...
    def close(self, end: dict[str, Any], rest_secs: float) -> None: ...


class _Channel:
    """A channel with its watchers; settled once it is confirmed, or Redis is known to be away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.watchers: set[_Watcher] = set()
        self.settled = asyncio.Event()

    def give_up(self) -> None:
        """Let those go on who wait: they learn what they miss once Redis is there."""
        self.settled.set()
        for watcher in self.watchers:
            watcher.unreachable()
