"""What a run's stream carries: events, each with an id that orders them across attempts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from treadle.errors import InvalidRequest
from treadle.escaping import token_of
from treadle.model import DEFAULT_TENANT

# Both numbers must fit into Redis's stream ids (64 bit) and into every client's integers (53 bit).
_ID = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})", re.ASCII)


class EventId(NamedTuple):
    """`attempt` is the fencing token of the attempt that wrote the event, `n` counts its events from 0."""

    attempt: int
    n: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.n}"

    @property
    def next(self) -> EventId:
        """The id of this attempt's next event."""
        return EventId(self.attempt, self.n + 1)

    @classmethod
    def parse(cls, text: str) -> EventId:
        """Read `<attempt>-<n>`.

        Raises:
            InvalidRequest: the text is not an id that Treadle has given out.
        """
        if (match := _ID.fullmatch(text)) is None:
            raise InvalidRequest(
                f"{text[:64]!r} is not an event id. An event id is two whole numbers, `<attempt>-<n>`, such "
                "as `1-17`: send the `id` of the last event that you received."
            )
        return cls(int(match[1]), int(match[2]))


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of a run; `data` is encoded JSON and goes from the worker to the client untouched."""

    id: EventId
    event: str
    data: bytes
    place: int = 0
    """Orders the events of a thread, over all its runs: see `place_of`."""
    made_at: int = 0
    """Milliseconds since 1970, by the worker's clock."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def place_of(moment: datetime) -> int:
    """A place in the order of a thread's events: microseconds since 1970, by the database's clock.

    An attempt's events are at the moment of its claim plus their number. A worker makes less than one event in a
    microsecond, and a thread has one run at a time, so the places of a thread's events grow. They fit into the
    53 bits of every client's integers until the year 2255.
    """
    return (moment - _EPOCH) // timedelta(microseconds=1)


def stream_key(run_id: UUID | str) -> str:
    """The Redis Stream that keeps a run's events; the braces put key and channel on one cluster slot."""
    return f"treadle:{{{run_id}}}:events"


def live_channel(run_id: UUID | str) -> str:
    """The pub/sub channel on which a run's events are announced."""
    return f"treadle:{{{run_id}}}:live"


def thread_channel(thread_id: UUID | str, tenant: str) -> str:
    """The pub/sub channel on which a thread's runs announce that they begin, and who changes its state what it is now.

    By tenant: a thread may be followed before it is there, and made by another tenant then. Runs and their ids are made here,
    and nobody else ever has one.
    """
    within = "" if tenant == DEFAULT_TENANT else f"{token_of(tenant)}:"
    return f"treadle:{within}{{{thread_id}}}:runs"
