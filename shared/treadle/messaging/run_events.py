"""Run events on JetStream: every change of a run's status, for services that react to it.

At least once: a message is published again until JetStream has acknowledged it, each time with the same id, which JetStream
(for two minutes) and consumers (for as long as they remember ids) know it by.

In order: of each thread one message is under way at a time, and none is sent before JetStream has the one before it.
So the first copies of a thread's events lie in the stream in their order, whatever gets lost, and whoever else publishes
the same events at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

import msgspec
import nats.js.errors
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from treadle.db.run_events import NotedEvent
from treadle.messaging.connection import NATS_ERRORS, Nats
from treadle.messaging.streams import ensure
from treadle.messaging.subjects import EVENTS_STREAM, EVENTS_SUBJECTS, run_event_subject
from treadle.wire.run_event import RunEvent

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_SECS = 3.0
DEDUPLICATION_SECS = 120.0
# JetStream refuses a shorter age.
LEAST_AGE_SECS = 1.0

_encode = msgspec.json.Encoder().encode


def stream_config(max_age_secs: float, max_bytes: int, replicas: int) -> StreamConfig:
    """The stream of run events; `max_bytes` 0: bounded by age alone."""
    max_age_secs = max(max_age_secs, LEAST_AGE_SECS)
    return StreamConfig(
        name=EVENTS_STREAM,
        subjects=EVENTS_SUBJECTS,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_age=max_age_secs,
        max_bytes=max_bytes or -1,
        storage=StorageType.FILE,
        duplicate_window=min(DEDUPLICATION_SECS, max_age_secs),
        num_replicas=replicas,
    )


class RunEventPublisher:
    """Publishes events, and makes the stream when it is not there."""

    def __init__(self, connection: Nats, config: StreamConfig) -> None:
        self._nats = connection
        self._stream = connection.client.jetstream()
        self._config = config
        self._ensured = False

    async def publish(self, events: Sequence[NotedEvent]) -> list[NotedEvent]:
        """Publish a batch whose events are in the order of their ids; returns those that JetStream has stored."""
        if not self._nats.connected or not await self._ensure():
            return []
        threads: dict[UUID, list[NotedEvent]] = {}
        for event in events:
            threads.setdefault(event.thread_id, []).append(event)
        failures: list[Exception] = []
        stored = await asyncio.gather(*(self._in_order(own, failures) for own in threads.values()))
        if failures:
            log.warning("run events of %s threads not published, they wait: %r", len(failures), failures[0])
        return [event for own in stored for event in own]

    async def _in_order(
        self, events: Sequence[NotedEvent], failures: list[Exception]
    ) -> Sequence[NotedEvent]:
        """Publish the events of one thread, each when the one before it is stored, up to the first failure."""
        for number, event in enumerate(events):
            try:
                await self._publish(event)
            except NATS_ERRORS as error:
                # NATS may be up and have lost the stream.
                self._ensured = self._ensured and not isinstance(error, nats.js.errors.NoStreamResponseError)
                failures.append(error)
                return events[:number]
        return events

    async def _publish(self, event: NotedEvent) -> None:
        # Not the number of its row: a database that was restored from a backup gives the same numbers again.
        event_id = f"{event.run_id}:{event.attempt}:{event.status}"
        told = RunEvent(
            event_id=event_id,
            run_id=event.run_id,
            thread_id=event.thread_id,
            assistant_id=event.assistant_id,
            graph_id=event.graph_id,
            status=event.status,
            attempt=event.attempt,
            tenant=event.tenant,
            at=event.at,
        )
        await self._stream.publish(
            run_event_subject(event.tenant, event.thread_id, event.status),
            _encode(told),
            timeout=PUBLISH_TIMEOUT_SECS,
            headers={"Nats-Msg-Id": event_id},
        )

    async def _ensure(self) -> bool:
        if not self._ensured:
            try:
                await ensure(self._stream, self._config)
                self._ensured = True
            except NATS_ERRORS as error:
                log.warning("the stream %s cannot be made: %r", EVENTS_STREAM, error)
        return self._ensured
