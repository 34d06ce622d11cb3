"""Which events of a thread a client wants."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from treadle.errors import InvalidRequest
from treadle_api.protocol.events import ProtocolEvent

CHANNELS = (
    "values",
    "updates",
    "messages",
    "tools",
    "lifecycle",
    "input",
    "checkpoints",
    "tasks",
    "custom",
)
Namespace = list[str]


class EventFilter(Struct, kw_only=True):
    """Channels, and namespaces by prefix down to a depth below it; `since` is the last `seq` that was seen."""

    channels: Annotated[list[str], Meta(min_length=1)]
    namespaces: list[Namespace] | None = None
    depth: Annotated[int, Meta(ge=0)] | None = None
    since: Annotated[int, Meta(ge=0)] | None = None

    def wants(self, event: ProtocolEvent) -> bool:
        return self._channel(event.channel) and self._namespace(event.namespace)

    def _channel(self, channel: str) -> bool:
        return channel in self.channels or (channel.startswith("custom:") and "custom" in self.channels)

    def _namespace(self, namespace: tuple[str, ...]) -> bool:
        return not self.namespaces or any(self._below(namespace, prefix) for prefix in self.namespaces)

    def _below(self, namespace: tuple[str, ...], prefix: Namespace) -> bool:
        within = self.depth is None or len(namespace) - len(prefix) <= self.depth
        return within and len(namespace) >= len(prefix) and all(map(_same, namespace, prefix))


def _same(part: str, wanted: str) -> bool:
    """A part is `<node>:<task id>`; a client may name the node alone."""
    return part == wanted or (":" not in wanted and part.partition(":")[0] == wanted)


def read_filter(given: Any) -> EventFilter:
    """Read and check a filter.

    Raises:
        InvalidRequest: a field is wrong, or a channel is not one of `CHANNELS` or `custom:<name>`.
    """
    try:
        wanted = msgspec.convert(given, EventFilter)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"body: {error}") from error
    check_channels(wanted)
    return wanted


def check_channels(wanted: EventFilter) -> None:
    """Raises InvalidRequest for a channel that does not exist."""
    for channel in wanted.channels:
        if channel not in CHANNELS and not (channel.startswith("custom:") and len(channel) > len("custom:")):
            raise InvalidRequest(
                f"channels: {channel[:64]!r} is not one of: {', '.join(CHANNELS)}, `custom:<name>`"
            )
