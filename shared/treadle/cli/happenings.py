"""What happens in a run, read from the parts of its stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph_sdk.schema import StreamMode, StreamPart

from treadle.cli.clean import clean

# The stream modes that `read` understands.
MODES: tuple[StreamMode, ...] = ("tasks", "messages-tuple", "custom")


@dataclass(frozen=True)
class Attempt:
    """A worker has begun, or taken over, the run."""

    run_id: str
    number: int


@dataclass(frozen=True)
class NodeStarted:
    """A node has begun; `node` is its name, below those of the graphs around it: `child/ask`."""

    task: str
    node: str


@dataclass(frozen=True)
class NodeFinished:
    """A node has ended: well, by an error, or by an interrupt."""

    task: str
    node: str
    error: str | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class Text:
    """A token of a chat model's message, or the whole message of one that does not stream."""

    message: str
    node: str
    text: str


@dataclass(frozen=True)
class ToolResult:
    """What a tool returned to the model."""

    tool: str
    text: str


@dataclass(frozen=True)
class Progress:
    """A custom event of the form {"done": 3, "total": 10, ...}: its other texts are its title and stage."""

    title: str
    stage: str
    done: float
    total: float


@dataclass(frozen=True)
class Note:
    """Any other custom event."""

    text: str


@dataclass(frozen=True)
class Failed:
    """The run has ended by an error."""

    error: str


Happening = Attempt | NodeStarted | NodeFinished | Text | ToolResult | Progress | Note | Failed


def read(part: StreamPart) -> Iterator[Happening]:
    """What a part of the stream tells; nothing when it is of a mode that is not in MODES."""
    event, *namespace = part.event.split("|")
    data = cast("Any", part.data)
    match event:
        case "metadata" if "run_id" in data:
            yield Attempt(data["run_id"], int(data.get("attempt", 1)))
        case "tasks":
            yield _task(namespace, data)
        case "messages":
            yield from _message(namespace, *data)
        case "custom":
            yield _custom(data)
        case "error":
            yield Failed(error_text(data))
        case _:
            pass


def _task(namespace: Sequence[str], data: Mapping[str, Any]) -> Happening:
    node = _node(namespace, data["name"])
    if "result" not in data:
        return NodeStarted(data["id"], node)
    error = error_text(data["error"]) if data.get("error") else None
    return NodeFinished(data["id"], node, error, interrupted=bool(data.get("interrupts")))


def _message(
    namespace: Sequence[str], message: Mapping[str, Any], metadata: Mapping[str, Any]
) -> Iterator[Happening]:
    text = clean(message_text(message))
    match message.get("type"):
        case "AIMessageChunk" | "ai" if text:
            node = _node(namespace, metadata.get("langgraph_node", "model"))
            yield Text(str(message.get("id")), node, text)
        case "tool" if text:
            yield ToolResult(clean(message.get("name") or "tool"), text)
        case _:
            pass


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a chat message, whose content is a text or a list of blocks."""
    content: Any = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(_block_text(block) for block in cast("list[Any]", content))


def _block_text(block: Any) -> str:
    if isinstance(block, dict):
        text = cast("dict[str, Any]", block).get("text")
        return text if isinstance(text, str) else ""
    return str(block)


def _custom(data: Any) -> Happening:
    match data:
        case {"done": int() | float() as done, "total": int() | float() as total, **others}:
            return _progress(done, total, cast("dict[str, Any]", others))
        case str():
            return Note(clean(data))
        case _:
            return Note(clean(json.dumps(data, ensure_ascii=False)))


def _progress(done: float, total: float, others: Mapping[str, Any]) -> Progress:
    texts = {key: clean(text) for key, text in others.items() if isinstance(text, str)}
    stage = texts.pop("stage", "")
    return Progress(" ".join(texts.values()), stage, done, total)


def error_text(data: Any) -> str:
    match data:
        case {"error": str() as kind, "message": str() as message}:
            return clean(f"{kind}: {message}" if message else kind)
        case str():
            return clean(data)
        case _:
            return clean(json.dumps(data, ensure_ascii=False))


def _node(namespace: Sequence[str], name: str) -> str:
    """`child:1f0b-...` in the namespace is the task of a node that is a graph: only its name tells something."""
    return clean("/".join([*(level.partition(":")[0] for level in namespace), name]))
