"""A graph's stream as the event streaming protocol tells it, made by langgraph's own transformers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.language_models._compat_bridge import message_to_events
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langgraph.stream import LifecycleTransformer, ProtocolEvent, SubgraphTransformer
from langgraph.stream._mux import StreamMux
from langgraph.stream.transformers import MessagesTransformer, ValuesTransformer
from langgraph.types import Interrupt

from treadle import json
from treadle.graphs.loader import Graph
from treadle_worker.wire import Wire

# langgraph's own switch for messages as content blocks.
MESSAGES_AS_BLOCKS = "__pregel_stream_messages_v2"
MODES = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "tools")
# A graph that brings transformers gets them among those that langgraph itself would have beside them.
BESIDE_OWN = (ValuesTransformer, MessagesTransformer, SubgraphTransformer)
# How a subgraph may end; one that is drained goes on in another worker.
ENDS = ("completed", "failed", "interrupted")

Part = Mapping[str, Any]


def transformers_of(graph: Graph) -> list[Any]:
    """What makes a graph's events: langgraph's transformers, and its own."""
    own = list(graph.stream_transformers)
    return [*(BESIDE_OWN if own else ()), LifecycleTransformer, *own]


def modes_of(graph: Graph) -> list[str]:
    """The stream modes that the protocol's channels and the graph's own transformers need."""
    own = [mode for each in graph.stream_transformers for mode in getattr(each, "required_stream_modes", ())]
    return sorted({*MODES, *own})


class ProtocolStream:
    """One attempt's parts, as wire events. Each is named by its method and the namespace that it comes from.

    The data are what the protocol has as `params.data`, but for `custom`: there they are what the graph wrote, and
    `custom:<name>` are those of a channel of the graph's own.
    """

    def __init__(self, graph: Graph) -> None:
        self._mux = StreamMux(factories=transformers_of(graph), is_async=True)
        self._asked: set[str] = set()
        self._graphs: dict[tuple[str, ...], str] = {}
        self._speaking: dict[str, str] = {}

    async def events(self, parts: AsyncIterator[Part]) -> AsyncGenerator[list[Wire]]:
        """The events of each part, as it comes; raises what the graph raises, after the last event."""
        log = self._mux._events  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the only way out of it

        async def pull() -> bool:
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                await self._mux.aclose()
                return False
            except Exception as error:  # noqa: BLE001 - the log raises it after the last event
                await self._mux.afail(error)
                return False
            event = _event(part)
            if event["method"] == "tasks":  # the transformers keep them to themselves
                log.push(event)
            await self._mux.apush(event)
            return True

        self._mux.bind_apump(pull)
        async for event in log:
            if told := list(self._wire(event["method"], cast("dict[str, Any]", event["params"]))):
                yield told

    def _wire(self, method: str, params: Mapping[str, Any]) -> Iterator[Wire]:
        namespace, data = params["namespace"], params["data"]
        match method:
            case "values":
                yield from self._questions(namespace, params.get("interrupts", ()))
                yield _named(method, namespace, data)
            case "messages":
                yield from (_named(method, namespace, step) for step in self._messages(*data))
            case "lifecycle":
                yield from self._lifecycle(data)
            case "checkpoints":
                yield _named(method, namespace, _envelope(data))
            case _:
                yield _named(method, namespace, data)

    def _questions(self, namespace: Sequence[str], interrupts: Sequence[Interrupt]) -> Iterator[Wire]:
        """Each question once, where it was asked: the graphs around tell it again."""
        for interrupt in interrupts:
            if interrupt.id not in self._asked:
                self._asked.add(interrupt.id)
                yield _named("input.requested", namespace, question(interrupt.id, interrupt.value))

    def _lifecycle(self, data: Mapping[str, Any]) -> Iterator[Wire]:
        namespace = tuple(data["namespace"])
        if data["event"] == "started":
            self._graphs[namespace] = data.get("graph_name", "")
            yield _named("lifecycle", namespace, data)
        elif data["event"] in ENDS:
            told = {name: value for name, value in data.items() if name != "namespace"}
            yield _named("lifecycle", namespace, {**told, "graph_name": self._graphs.get(namespace, "")})

    def _messages(self, payload: Any, metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """A step of a message, or all steps of one that came whole. What tools say is on their own channel.

        Each step says of which message it is, and of which call of a model: several may speak at once.
        """
        if isinstance(payload, BaseMessage):
            if not isinstance(payload, AIMessageChunk | ToolMessage):
                steps = message_to_events(payload, message_id=payload.id)
                yield from (self._step(cast("dict[str, Any]", step), payload.id) for step in steps)
        elif payload.get("role") != "tool":
            yield self._step(payload, metadata.get("run_id"))

    def _step(self, step: Mapping[str, Any], run_id: Any) -> Mapping[str, Any]:
        speaker = str(run_id)
        if step["event"] == "message-start":
            self._speaking[speaker] = str(step.get("id") or step.get("message_id"))
            return {**step, "id": self._speaking[speaker], "run_id": speaker}
        message_id = self._speaking.get(speaker)
        if step["event"] in ("message-finish", "error"):
            self._speaking.pop(speaker, None)
        return {**step, "message_id": message_id, "run_id": speaker}


def question(interrupt_id: str, value: Any) -> dict[str, Any]:
    """What `input.requested` says. The protocol has it as `payload`; the Python client looks for `value`."""
    return {"interrupt_id": interrupt_id, "payload": value, "value": value}


def answered(resume: Any) -> Wire | None:
    """What tells all clients of a thread that questions are answered: the run that resumes them has begun."""
    ids = list(cast("dict[str, Any]", resume)) if isinstance(resume, dict) else []
    return _named("input.answered", (), {"interrupt_ids": ids}) if ids else None


def _event(part: Part) -> ProtocolEvent:
    params = {"namespace": list(part["ns"]), "timestamp": time.time_ns() // 1_000_000, "data": part["data"]}
    asked = {"interrupts": part["interrupts"]} if "interrupts" in part else {}
    return cast(ProtocolEvent, {"type": "event", "method": part["type"], "params": {**params, **asked}})


def _named(method: str, namespace: Sequence[str], data: Any) -> Wire:
    return method + "".join(f"|{part}" for part in namespace), json.encode(data)


def _envelope(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Where a checkpoint stands among the others; what it holds is the thread's state."""
    metadata = checkpoint["metadata"]
    parent = checkpoint.get("parent_config")
    above = {} if parent is None else {"parent_id": parent["configurable"]["checkpoint_id"]}
    place = {"id": checkpoint["config"]["configurable"]["checkpoint_id"], **above}
    return {**place, "step": metadata["step"], "source": metadata["source"]}


async def checkpoints_first(parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """The parts, each `checkpoints` before the `values` of its step: the protocol's clients pair them so.

    langgraph queues the two at once, in the other order. So values are held back until the loop has turned once,
    and no longer.
    """
    async with aclosing(parts):
        part = await _next(parts)
        while part is not None:
            if part["type"] != "values":
                yield part
                part = await _next(parts)
                continue
            following = asyncio.create_task(_next(parts), name="part-after-values")
            try:
                await asyncio.sleep(0)
                if following.done() and _is_checkpoint_of(await following, part):
                    yield cast(Part, await following)
                    yield part
                    part = await _next(parts)
                else:
                    yield part
                    part = await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


async def _next(parts: AsyncGenerator[Part]) -> Part | None:
    return await anext(parts, None)


def _is_checkpoint_of(part: Part | None, values: Part) -> bool:
    return part is not None and part["type"] == "checkpoints" and part["ns"] == values["ns"]
