"""Sends the events of all runs of a worker process to Redis, many runs in one round trip."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Self
from uuid import UUID

from redis.asyncio import Redis

from treadle.owned_task import OwnedTask
from treadle.streaming.append import Entry, Outcome, append
from treadle.streaming.connection import AWAY, Link
from treadle.streaming.limits import StreamLimits
from treadle.streaming.writer import EventWriter

# What comes within this time goes together. An attempt's first event that says more than that it has begun goes at once, and its
# last one: somebody waits for each of them.
COALESCE_SECS = 0.002
# That an attempt has begun waits so long for what it says first, and goes with it.
OPENING_SECS = 0.025


class EventPublisher:
    """One per worker process; an async context manager that owns the one task that talks to Redis.

    Each round takes at most one batch of each run, so a run's batches are never on the way together, and
    resending one keeps their order.
    """

    def __init__(self, redis: Redis, limits: StreamLimits | None = None) -> None:
        self._redis = redis
        self._limits = limits or StreamLimits()
        self._waiting: dict[EventWriter, None] = {}
        self._wake = asyncio.Event()
        self._link = Link("live events of this worker")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task = OwnedTask("event-publisher", self._run)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped()
        await self._task.stop()

    @property
    def connected(self) -> bool:
        """Whether Redis took the last events; so it is believed until it has refused some."""
        return self._loop is not None and self._link.connected is not False

    def writer(
        self,
        run_id: UUID | str,
        attempt: int,
        lease_valid: Callable[[], bool],
        *,
        thread: str | None = None,
        base: int = 0,
    ) -> EventWriter:
        """The writer of one attempt, counted from 1; `lease_valid` is asked before each sending.

        Args:
            thread: the channel of the thread whose followers are told that the attempt begins.
            base: the place of the attempt's first event in the order of its thread's; see `place_of`.
        """
        return EventWriter(
            run_id,
            attempt,
            thread=thread,
            base=base,
            lease_valid=lease_valid,
            limits=self._limits,
            enlist=self._enlist,
            away_secs=self._away_secs,
        )

    def _away_secs(self) -> float:
        return math.inf if self._loop is None else self._link.away_secs

    def _enlist(self, writer: EventWriter) -> None:
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(self._enlisted, writer)

    def _enlisted(self, writer: EventWriter) -> None:
        self._waiting[writer] = None
        if writer.opening:
            writer.flush_at = asyncio.get_running_loop().time() + OPENING_SECS
        self._wake.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._round(await self._due())
        finally:
            self._stopped()

    def _stopped(self) -> None:
        """Nothing is sent any more, and nobody is to wait for it."""
        self._loop = None
        self._release()

    async def _due(self) -> list[EventWriter]:
        """Wait until some run's events are due."""
        while True:
            self._wake.clear()
            now = asyncio.get_running_loop().time()
            if due := [writer for writer in self._waiting if writer.flush_at <= now]:
                return due
            await self._woken(min((writer.flush_at for writer in self._waiting), default=None))

    async def _woken(self, until: float | None) -> None:
        timer = None if until is None else asyncio.get_running_loop().call_at(until, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _round(self, due: list[EventWriter]) -> None:
        now = asyncio.get_running_loop().time()
        batches: dict[EventWriter, Entry] = {}
        for writer in due:
            if (entry := writer.cut()) is None:
                del self._waiting[writer]
                continue
            writer.flush_at = now + COALESCE_SECS
            batches[writer] = entry
        if batches:
            await self._send(batches)

    async def _send(self, batches: dict[EventWriter, Entry]) -> None:
        try:
            outcomes = await append(self._redis, list(batches.values()))
        except AWAY as error:
            await self._failed(error)
            return
        for writer, outcome in zip(batches, outcomes, strict=True):
            writer.settle(outcome)
            if writer.backlogged:
                writer.flush_at = 0.0
        if Outcome.FAILED in outcomes:
            await self._failed("it refuses to take events; its log says why (memory full? read-only?)")
        else:
            self._link.found()

    async def _failed(self, why: Exception | str) -> None:
        """Let runs go on without Redis, and try again a little later with the same batches."""
        self._link.lost(why)
        self._release()
        await self._link.pause()

    def _release(self) -> None:
        for writer in self._waiting:
            writer.release()
