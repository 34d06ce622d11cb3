"""What happens on a thread, as events of the protocol.

A run that was started by the protocol streams them itself; of others its clients get the channels that carry the
same there and here: lifecycle, input, values, updates, custom, tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from treadle import json
from treadle.model import Run
from treadle.streaming import Event
from treadle_api.operations.thread_events import (
    EventsMissing,
    Happening,
    RunDone,
    RunEvents,
    StateChanged,
)

# The methods of a run that the protocol started, as its worker names its events.
NATIVE = frozenset(
    {
        "values",
        "updates",
        "messages",
        "tools",
        "lifecycle",
        "input.requested",
        "input.answered",
        "checkpoints",
        "tasks",
        "custom",
    }
)
ALIKE = frozenset({"values", "updates", "custom", "tasks"})
INTERRUPT = "__interrupt__"


class ProtocolEvent(msgspec.Struct, frozen=True):
    """One event. `seq` is its place in the thread: it grows, and says where to go on from."""

    method: str
    channel: str
    namespace: tuple[str, ...]
    seq: int
    event_id: str
    timestamp: int
    data: bytes

    @property
    def json(self) -> bytes:
        return (
            b'{"type":"event","event_id":%b,"seq":%d,"method":%b,'
            b'"params":{"namespace":%b,"timestamp":%d,"data":%b}}'
        ) % (
            json.encode(self.event_id),
            self.seq,
            json.encode(self.method),
            json.encode(self.namespace),
            self.timestamp,
            self.data,
        )


def told(happening: Happening) -> Iterator[ProtocolEvent]:
    """The events of what happened, in order; none of what can no longer be told."""
    match happening:
        case RunEvents(run, events=events):
            of_run = _native if run.kwargs.get("protocol") else _converted
            for event in events:
                yield from of_run(run, event)
        case RunDone():
            yield _end(happening)
        case EventsMissing() | StateChanged():
            return


def lost(error: Exception) -> bytes:
    """The frame that says that a stream has a gap, or ends."""
    return json.encode({"type": "error", "id": None, "error": "unknown_error", "message": str(error)})


def _native(run: Run, event: Event) -> Iterator[ProtocolEvent]:
    name, *namespace = event.event.split("|")
    method, _, channel = name.partition(":")
    if method == "metadata":
        yield _beginning(run, event)
    elif method == "custom":
        yield _custom(event, channel, namespace)
    elif method in NATIVE:
        yield _event(event, method, namespace, event.data, _synthetic(run, method, namespace, event.data))


def _converted(run: Run, event: Event) -> Iterator[ProtocolEvent]:
    method, *namespace = event.event.split("|")
    if method == "metadata":
        yield _beginning(run, event)
    elif method == "values" and INTERRUPT.encode() in event.data:
        yield from _questions(run, event, namespace)
    elif method == "custom":
        yield _custom(event, "", namespace)
    elif method in ALIKE:
        yield _event(event, method, namespace, event.data)


def _questions(run: Run, event: Event, namespace: Sequence[str]) -> Iterator[ProtocolEvent]:
    """A run that was not started by the protocol tells its questions among its values, which have not changed."""
    values = json.decode(event.data)
    interrupts = cast("dict[str, Any]", values).get(INTERRUPT) if isinstance(values, dict) else None
    if not isinstance(interrupts, list):
        yield _event(event, "values", namespace, event.data)
        return
    for interrupt in cast("list[dict[str, Any]]", interrupts):
        value = interrupt.get("value")
        data = json.encode({"interrupt_id": interrupt.get("id"), "payload": value, "value": value})
        method = "input.requested"
        yield _event(event, method, namespace, data, _synthetic(run, method, namespace, data))


def _custom(event: Event, channel: str, namespace: Sequence[str]) -> ProtocolEvent:
    """What a graph writes is the payload; a channel has a name, and so has what is written as name and payload."""
    if channel:
        data = b'{"name":%b,"payload":%b}' % (json.encode(channel), event.data)
    elif (name := _name(event.data)) is not None:
        channel, data = name, event.data
    else:
        data = b'{"payload":%b}' % event.data
    made = _event(event, "custom", namespace, data)
    return msgspec.structs.replace(made, channel=f"custom:{channel}") if channel else made


def _name(data: bytes) -> str | None:
    if b'"payload"' not in data or b'"name"' not in data:
        return None
    written = json.decode(data)
    named = cast("dict[str, Any]", written) if isinstance(written, dict) else {}
    name = named["name"] if named.keys() == {"name", "payload"} else None
    return name if isinstance(name, str) else None


def _beginning(run: Run, event: Event) -> ProtocolEvent:
    """Each attempt begins; the first one's id is the one that the protocol's clients know a run by."""
    again = f":{event.id.attempt}" if event.id.attempt > 1 else ""
    data = json.encode({"event": "running", "graph_name": run.graph_id})
    return _event(event, "lifecycle", (), data, f"synth:{run.run_id}:lc||running{again}")


def _end(done: RunDone) -> ProtocolEvent:
    run, status = done.run, _status(done)
    data: dict[str, Any] = {"event": status, "graph_name": run.graph_id}
    if status == "failed":
        error = cast("dict[str, Any]", run.error or {})
        data["error"] = str(error.get("message", "the run failed"))
    return ProtocolEvent(
        method="lifecycle",
        channel="lifecycle",
        namespace=(),
        seq=done.place,
        event_id=f"synth:{run.run_id}:lc||{status}",
        timestamp=done.place // 1000,
        data=json.encode(data),
    )


def _status(done: RunDone) -> str:
    match done.status:
        case "success":
            return "interrupted" if done.asks else "completed"
        case "error" | "timeout":
            return "failed"
        case _:
            return "interrupted"


def _synthetic(run: Run, method: str, namespace: Sequence[str], data: bytes) -> str | None:
    """Ids by which the clients know what an event is about, whichever reading of the stream brings it."""
    where = "|".join(namespace)
    if method == "lifecycle":
        event = json.decode(data)["event"]
        return None if event == "started" else f"synth:{run.run_id}:lc|{where}|{event}"
    if method == "input.requested":
        return f"synth:{run.run_id}:input|{where}|{json.decode(data)['interrupt_id']}"
    return None


def _event(
    event: Event, method: str, namespace: Sequence[str], data: bytes, event_id: str | None = None
) -> ProtocolEvent:
    return ProtocolEvent(
        method=method,
        channel="input" if method.startswith("input.") else method,
        namespace=tuple(namespace),
        seq=event.place,
        event_id=event_id or str(event.place),
        timestamp=event.made_at or event.place // 1000,
        data=data,
    )
