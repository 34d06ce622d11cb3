"""What a writer does before anything is sent: it numbers, bounds and counts."""

from __future__ import annotations

import asyncio
import math

import pytest

from treadle.errors import Fenced
from treadle.streaming import EventPublisher, EventWriter, StreamLimits, connect
from treadle.streaming.append import Outcome
from treadle.streaming.batch import END, arrived

NOBODY = "unix:///nonexistent/valkey.sock"


def a_writer(limits: StreamLimits | None = None, *, lease: bool = True) -> EventWriter:
    """The writer of a publisher that does not run, so that nothing leaves the buffer."""
    return EventPublisher(connect(NOBODY), limits).writer("run", 1, lambda: lease)


def test_events_number_from_zero_and_a_batch_has_the_id_of_its_first() -> None:
    writer = a_writer()
    writer.write("metadata", b"{}")
    entry = writer.cut()
    assert entry is not None
    assert entry.id == (1, 0)


def test_a_batch_stays_the_same_until_its_outcome_is_known() -> None:
    writer = a_writer()
    writer.write("metadata", b"{}")
    entry = writer.cut()
    writer.write("values", b"{}")
    assert writer.cut() is entry


def test_what_an_attempt_says_first_does_not_wait_for_company() -> None:
    writer = a_writer()
    writer.write("metadata", b"{}")
    writer.flush_at = math.inf  # as the publisher has it wait
    writer.write("values", b"{}")
    assert writer.flush_at == 0.0


async def test_the_end_does_not_wait_for_company() -> None:
    writer = a_writer(StreamLimits(close_secs=0.1))
    writer.write("metadata", b"{}")
    writer.flush_at = math.inf
    closing = asyncio.create_task(writer.close({"status": "success"}))
    await asyncio.sleep(0)
    assert writer.flush_at == 0.0
    await closing


def test_a_full_buffer_drops_new_events_and_counts_them() -> None:
    writer = a_writer(StreamLimits(buffer_bytes=10_000))
    for _ in range(15):
        writer.write("values", b"x" * 1000)
    assert 5 < writer.dropped < 10


def test_an_event_larger_than_the_buffer_is_kept_alone_or_behind_a_small_one() -> None:
    writer = a_writer(StreamLimits(buffer_bytes=1000))
    writer.write("metadata", b"{}")
    writer.write("values", b"x" * 5000)
    assert writer.dropped == 0
    writer.write("values", b"{}")
    assert writer.dropped == 1


def test_a_writer_whose_lease_is_over_sends_nothing_and_takes_nothing() -> None:
    writer = a_writer(lease=False)
    writer.write("metadata", b"{}")
    assert writer.cut() is None
    assert writer.fenced
    with pytest.raises(Fenced, match="Attempt 1 of run run"):
        writer.write("values", b"{}")


async def test_what_the_end_of_the_lease_held_back_is_sent_when_the_outcome_is_committed() -> None:
    """No newer attempt existed then: a client must not miss events of a run that has succeeded."""
    writer = a_writer(StreamLimits(close_secs=0.1), lease=False)
    writer.write("metadata", b"{}")
    writer.write("custom", b"{}")
    assert writer.cut() is None
    closing = asyncio.create_task(writer.close({"status": "success"}))
    await asyncio.sleep(0)
    entry = writer.cut()
    assert entry is not None
    batch = arrived(entry.payload)
    assert batch is not None
    assert [event.event for event in batch.events] == ["metadata", "custom", END]
    writer.settle(Outcome.WRITTEN)
    await closing


async def test_what_the_end_of_the_lease_held_back_goes_with_a_run_that_goes_on_elsewhere() -> None:
    writer = a_writer(lease=False)
    writer.write("metadata", b"{}")
    assert writer.cut() is None
    await writer.close(None)
    assert writer.cut() is None
    assert writer.dropped == 1


async def test_a_producer_does_not_wait_where_nobody_sends() -> None:
    writer = a_writer(StreamLimits(backlog_bytes=100))
    writer.write("values", b"x" * 1000)
    await writer.ready()


async def test_a_closed_writer_takes_nothing_and_closing_again_does_nothing() -> None:
    writer = a_writer()
    writer.write("metadata", b"{}")
    await writer.close({"status": "success"})
    await writer.close({"status": "error"})
    with pytest.raises(Fenced, match="closed"):
        writer.write("values", b"{}")
