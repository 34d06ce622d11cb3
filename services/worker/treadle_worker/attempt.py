"""One attempt of a run: streams the graph, publishes its events, and reads how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot, StreamMode

from treadle import json
from treadle.checkpoint.savers import RunSaver
from treadle.checkpoint.state import interrupts_of, readable_state
from treadle.db.runs import Outcome
from treadle.graphs.loader import Graph
from treadle.model import Run
from treadle.streaming import EventWriter
from treadle_worker.active import ActiveRun
from treadle_worker.inputs import GRAPH_MODES, durability, stream_modes
from treadle_worker.protocol import (
    MESSAGES_AS_BLOCKS,
    Part,
    ProtocolStream,
    answered,
    checkpoints_first,
    modes_of,
)
from treadle_worker.wire import Wire, WireFormat

INTERRUPT = "__interrupt__"
# What nodes tell while they are on: nobody hears of it before the steps before them are committed.
TOLD_BY_NODES = frozenset({"custom", "messages", "tools", "events"})
# A graph that says much at once is listened to for so long; then others have their turn, what sends its events among them.
TURN_SECS = 0.001
# How long what a graph has left is asked for again while there is no memory for it.
SHORT_OF_MEMORY_SECS = 2.0
Chunk = tuple[Sequence[str], str, Any]


class Attempt:
    """Executes a graph for an active run.

    Args:
        given: the graph's input, a command, or None.
        saver: has the attempt's checkpoints.
        on_first_event: is told the seconds from the start to the first event.
    """

    def __init__(
        self,
        active: ActiveRun,
        graph: Graph,
        config: RunnableConfig,
        writer: EventWriter,
        *,
        given: Any,
        saver: RunSaver,
        on_first_event: Callable[[float], None],
    ) -> None:
        self._active = active
        self._run: Run = active.run
        self._graph = graph
        self._config = config
        self._writer = writer
        self._given = given
        self._saver = saver
        self._on_first_event = on_first_event
        self._modes = stream_modes(self._run)
        self._values: Any = None
        self._interrupts: list[Any] = []

    async def stream(self) -> None:
        """Run the graph to its end, an interrupt, or an error, and publish what it streams.

        Its checkpoints are committed then, but for the last ones of a run that came to its end: these go with the outcome.

        Raises:
            Fenced: a newer attempt has the run.
            GraphDrained: the run was asked to stop between two steps.
        """
        try:
            await self._publish()
        except BaseException:
            await self._saver.written()
            raise

    async def _publish(self) -> None:
        started = turn = time.perf_counter()
        first = True
        async with aclosing(self._protocol() if self._run.kwargs.get("protocol") else self._events()) as told:
            async for events in told:
                for event, data in events:
                    self._writer.write(event, data)
                await self._writer.ready()
                now = time.perf_counter()
                if first:
                    self._on_first_event(now - started)
                    first = False
                if now > turn + TURN_SECS:
                    await asyncio.sleep(0)
                    turn = time.perf_counter()

    async def _events(self) -> AsyncGenerator[Iterable[Wire]]:
        """The events of the modes that were asked for."""
        wire = WireFormat(self._modes)
        wanted = {GRAPH_MODES[mode] for mode in self._modes if mode in GRAPH_MODES}
        async for namespace, mode, payload in self._chunks():
            if mode == "values" and not namespace:
                self._keep(payload)
            await self._commit_before(mode)
            if mode in wanted or mode == "events":
                yield wire.events(namespace, mode, payload)

    async def _protocol(self) -> AsyncGenerator[Iterable[Wire]]:
        """The events of the event streaming protocol, of all its channels."""
        arguments = self._arguments(subgraphs=True)
        configurable = {**self._config.get("configurable", {}), MESSAGES_AS_BLOCKS: True}
        arguments |= {
            "stream_mode": modes_of(self._graph),
            "config": {**self._config, "configurable": configurable},
        }
        if (
            told := answered((self._run.kwargs.get("command") or {}).get("resume"))
        ) and self._run.attempt == 1:
            yield [told]
        parts = checkpoints_first(cast(Any, self._graph.astream(**arguments, version="v2")))
        async with aclosing(ProtocolStream(self._graph).events(self._kept(parts))) as events:
            async for told in events:
                yield told

    async def _kept(self, parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
        async with aclosing(parts):
            async for part in parts:
                await self._commit_before(part["type"])
                if part["type"] == "values" and not part["ns"]:
                    self._values = part["data"]
                    self._interrupts += part["interrupts"]
                yield part

    async def _commit_before(self, mode: str) -> None:
        if mode in TOLD_BY_NODES:
            await self._saver.done_is_written()

    def _keep(self, values: Any) -> None:
        """The newest values, and each interrupt on the way: it is told once, and values without it may follow."""
        if isinstance(values, dict) and INTERRUPT in values:
            known = cast("dict[str, Any]", values)
            self._interrupts += known[INTERRUPT]
            values = {name: value for name, value in known.items() if name != INTERRUPT}
        self._values = values

    def _chunks(self) -> AsyncIterator[Chunk]:
        return self._with_events() if "events" in self._modes else self._plain()

    async def _plain(self) -> AsyncIterator[Chunk]:
        subgraphs = bool(self._run.kwargs.get("subgraphs"))
        async for chunk in self._graph.astream(**self._arguments(subgraphs)):
            yield _chunk(chunk, subgraphs)

    async def _with_events(self) -> AsyncIterator[Chunk]:
        """The `events` mode: everything that happens inside, with the other modes' chunks among it."""
        subgraphs = bool(self._run.kwargs.get("subgraphs"))
        arguments = self._arguments(subgraphs)
        async for event in self._graph.astream_events(version="v2", **arguments):
            if event["event"] == "on_chain_stream" and event["run_id"] == str(self._run.run_id):
                namespace, mode, payload = _chunk(event["data"].get("chunk"), subgraphs)
                yield namespace, mode, payload
            else:
                yield (), "events", event

    def _arguments(self, subgraphs: bool) -> dict[str, Any]:
        kwargs = self._run.kwargs
        modes: set[StreamMode] = {GRAPH_MODES[mode] for mode in self._modes if mode in GRAPH_MODES}
        return {
            "input": self._given,
            "config": self._config,
            "context": kwargs.get("context") or None,
            "stream_mode": sorted(modes | {"values"}),
            "interrupt_before": kwargs.get("interrupt_before"),
            "interrupt_after": kwargs.get("interrupt_after"),
            "durability": durability(self._run),
            "control": self._active.control,
            "subgraphs": subgraphs,
        }

    async def succeeded(self) -> Outcome:
        """The outcome of a graph that came to an end or to an interrupt."""
        if self._values is not None and self._values_tell_all():
            data = json.encode(self._values)
            left = self._saver.take()
            if not left:
                await self._saver.written()
            return Outcome(
                status="success", resting="idle", output=data, values=data, interrupts=b"{}", left=left
            )
        snapshot, values, interrupts = await self._state()
        output = values if self._values is None else json.encode(self._told(snapshot))
        return Outcome(
            status="success",
            resting="interrupted" if snapshot.next else "idle",
            output=output,
            values=values,
            interrupts=interrupts,
        )

    def _told(self, snapshot: StateSnapshot) -> Any:
        """The values and the interrupts on the way: those that wait in the order of their tasks, whichever was reached first."""
        if not self._interrupts:
            return self._values
        places = {waiting.id: place for place, waiting in enumerate(snapshot.interrupts)}
        told = sorted(self._interrupts, key=lambda interrupt: places.get(interrupt.id, -1))
        return {**self._values, INTERRUPT: told}

    def _values_tell_all(self) -> bool:
        """Whether the last `values` chunk is the thread's whole state, so that it need not be read again.

        Not so when the graph may have stopped midway, or shows clients less than it keeps.
        """
        may_stop = (
            self._interrupts
            or self._run.kwargs.get("interrupt_before")
            or self._run.kwargs.get("interrupt_after")
            or self._graph.interrupt_before_nodes
            or self._graph.interrupt_after_nodes
        )
        return not may_stop and self._graph.output_channels == self._graph.stream_channels_asis

    async def stopped(self, status: str, error: dict[str, str], *, untouched: bool = False) -> Outcome:
        """The outcome of a graph that did not come to its end: what its last checkpoint holds is kept.

        Args:
            untouched: it failed before it did anything, so the thread rests as it did before.
        """
        snapshot, values, interrupts = await self._state()
        failed = status in ("error", "timeout") and not untouched
        return Outcome(
            status=cast(Any, status),
            resting="error" if failed else "interrupted" if snapshot.next else "idle",
            output=None if status in ("error", "timeout") else values,
            error=json.encode(error),
            values=values,
            interrupts=interrupts,
        )

    async def _state(self) -> tuple[StateSnapshot, bytes, bytes]:
        """The thread's newest state, as soon as there is memory for it: what took it all may be about to fail, or just has."""
        started = time.monotonic()
        while True:
            try:
                return await self._read_state()
            except MemoryError:
                if time.monotonic() > started + SHORT_OF_MEMORY_SECS:
                    raise
            await asyncio.sleep(SHORT_OF_MEMORY_SECS / 10)

    async def _read_state(self) -> tuple[StateSnapshot, bytes, bytes]:
        """The snapshot, its values, and the interrupts that wait, by task id."""
        snapshot = await readable_state(self._graph, newest_of(self._run))
        return snapshot, json.encode(snapshot.values or {}), json.encode(interrupts_of(snapshot))


def newest_of(run: Run) -> RunnableConfig:
    """The newest checkpoint of a run's thread."""
    return {"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": ""}}


def _chunk(chunk: Any, subgraphs: bool) -> Chunk:
    if subgraphs:
        namespace, mode, payload = chunk
        return namespace, mode, payload
    mode, payload = chunk
    return (), mode, payload
