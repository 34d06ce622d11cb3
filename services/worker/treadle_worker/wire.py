"""langgraph's stream as the events that clients of the Agent Server protocol know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message

from treadle import json

Wire = tuple[str, bytes]
# Where langgraph and the server keep objects of their own in a config.
PRIVATE = "__"
POINTER = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


class WireFormat:
    """Turns stream chunks into wire events. One for each attempt: `messages` joins tokens into messages."""

    def __init__(self, modes: Sequence[str]) -> None:
        self._modes = frozenset(modes)
        self._partial: dict[str, BaseMessageChunk] = {}
        self._announced: set[str] = set()

    def events(self, namespace: Sequence[str], mode: str, payload: Any) -> Iterator[Wire]:
        """The events of one chunk; the namespace of a subgraph is appended to their names."""
        suffix = "|".join(("", *namespace))
        if mode == "messages":
            yield from self._messages(suffix, payload)
        elif mode == "checkpoints":
            yield mode + suffix, json.encode(_checkpoint(payload))
        elif mode == "debug":
            yield mode + suffix, json.encode(_debug(payload))
        else:
            yield mode + suffix, json.encode(payload)

    def _messages(self, suffix: str, payload: Any) -> Iterator[Wire]:
        message, metadata = cast("tuple[BaseMessage, dict[str, Any]]", payload)
        if "messages-tuple" in self._modes:
            yield "messages" + suffix, json.encode([message, metadata])
        else:
            yield from self._joined(suffix, message, metadata)

    def _joined(self, suffix: str, message: BaseMessage, metadata: dict[str, Any]) -> Iterator[Wire]:
        """The message so far, after each of its tokens; a message that came whole is `complete`."""
        key = message.id or ""
        if key not in self._announced:
            self._announced.add(key)
            yield "messages/metadata" + suffix, json.encode({key: {"metadata": metadata}})
        if isinstance(message, BaseMessageChunk):
            known = self._partial.get(key)
            joined = message if known is None else known + message
            self._partial[key] = joined
            whole = message_chunk_to_message(self._partial[key])
            yield "messages/partial" + suffix, json.encode([whole])
        else:
            yield "messages/complete" + suffix, json.encode([message])


def _debug(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    if payload.get("type") != "checkpoint":
        return payload
    inner = payload["payload"]
    return {
        **payload,
        "payload": {
            **_checkpoint(inner),
            "tasks": [_debug_task(task) for task in inner.get("tasks", ())],
            "checkpoint": _pointer(inner.get("config")),
            "parent_checkpoint": _pointer(inner.get("parent_config")),
        },
    }


def _checkpoint(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **payload,
        "config": _public(payload.get("config")),
        "parent_config": _public(payload.get("parent_config")),
        "tasks": [_task(task) for task in payload.get("tasks", ())],
    }


def _task(task: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**task, "state": _public(task["state"])} if isinstance(task.get("state"), Mapping) else task


def _debug_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task that is a subgraph says where its checkpoints are, instead of its state."""
    if (state := _public(task.get("state"))) is None:
        return dict(task)
    return {
        **{key: value for key, value in task.items() if key != "state"},
        "checkpoint": state["configurable"],
    }


def _public(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A config with what may be shown of it."""
    if config is None:
        return None
    configurable = cast("Mapping[str, Any]", config.get("configurable") or {})
    return {
        "configurable": {key: value for key, value in configurable.items() if not key.startswith(PRIVATE)}
    }


def _pointer(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if config is None:
        return None
    configurable = config["configurable"]
    return {name: configurable[name] for name in POINTER if name in configurable}
