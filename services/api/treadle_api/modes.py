"""Only the events of the stream modes that a joining client asks for."""

from __future__ import annotations

from collections.abc import Collection

from treadle.streaming import Event, EventSource

# Told to every client, whatever it asks for.
ALWAYS = frozenset({"metadata", "error"})


class OnlyModes:
    """A source that passes over the events of other modes."""

    def __init__(self, source: EventSource, modes: Collection[str]) -> None:
        self._source = source
        self._names = ALWAYS | {"messages" if mode == "messages-tuple" else mode for mode in modes}

    async def next_batch(self) -> list[Event] | None:
        """The next wanted events, at least one; None at the run's end."""
        while (events := await self._source.next_batch()) is not None:
            if wanted := [event for event in events if self._wants(event)]:
                return wanted
        return None

    def _wants(self, event: Event) -> bool:
        mode = event.event.partition("|")[0].partition("/")[0]
        return mode in self._names
