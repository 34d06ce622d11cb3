"""Executes claimed runs: sets an attempt up, watches over it, and says how it came to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis.asyncio
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained, UnknownInterruptError
from langgraph.store.base import BaseStore

from treadle import json
from treadle.checkpoint.savers import Savers
from treadle.checkpoint.state import readable_state
from treadle.db.runs import EndedRun, Outcome, Runs
from treadle.errors import Fenced, Forbidden, Unavailable, unavailable_in
from treadle.graphs.loader import Graph
from treadle.graphs.registry import Registry
from treadle.model import Run
from treadle.operations.approvals import Approvals
from treadle.patience import being_cancelled
from treadle.store.opening import store_of_run
from treadle.streaming import (
    EventPublisher,
    EventWriter,
    StreamLimits,
    place_of,
    publish_end,
    thread_channel,
)
from treadle.telemetry import conventions
from treadle.telemetry.logs import bind
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.nodes import NodeSpans
from treadle.telemetry.tracing import Tracing
from treadle_worker.active import ActiveRun, Stop, timed_out
from treadle_worker.attempt import Attempt, newest_of
from treadle_worker.endings import Ended, Ending, HandedBack, Lost
from treadle_worker.inputs import run_config
from treadle_worker.leases import LeaseKeeper
from treadle_worker.resumption import answers_left, given_to, resumes
from treadle_worker.threads import Threads
from treadle_worker.turned_away import MOST_TIMES, TurnedAway

log = logging.getLogger(__name__)

# User code that swallows cancellation is left behind after this long; fencing keeps it harmless.
STOP_GRACE_SECS = 10.0

# A synchronous node that goes on so long after the end of its run will do so for ever.
LEFT_FOR_GOOD_SECS = 60.0
# What a graph has left is read for so long while Postgres is away; then its run goes back, or ends without values.
READ_SECS = 60.0
# Signals of cancels that may have been quicker than the answers to the claims of their runs.
CANCELS_KEPT = 256

CANCELLED = {
    "error": "UserInterrupt",
    "message": "the run was cancelled with action 'interrupt'; its checkpoints are kept",
}


@dataclass(frozen=True)
class Parts:
    """What executing runs takes, built once for the worker."""

    registry: Registry
    savers: Savers
    store: BaseStore
    runs: Runs
    redis: redis.asyncio.Redis
    publisher: EventPublisher
    limits: StreamLimits
    leases: LeaseKeeper
    metrics: Metrics
    tracing: Tracing
    timeout_secs: float
    threads: Threads
    approvals: Approvals | None
    # Pieces of user code that go on after the end of their runs; with more of them the process is started anew.
    most_left_behind: int
    wind_down: Callable[[], None]


class Executor:
    """Executes the runs of one worker."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._active: set[ActiveRun] = set()
        self._ending: dict[tuple[UUID, int], Ending] = {}
        # Cancels of runs that are not here; most are other workers' and stay that.
        self._cancelled: deque[UUID] = deque(maxlen=CANCELS_KEPT)
        self._left_behind: set[asyncio.Task[None]] = set()
        self._turned_away = TurnedAway()
        self._handing_back = False

    @property
    def active(self) -> frozenset[ActiveRun]:
        """The runs whose graphs are on now."""
        return frozenset(self._active)

    def find(self, run_id: UUID) -> ActiveRun | None:
        """The newest attempt of a run that is on here."""
        attempts = [active for active in self._active if active.run.run_id == run_id]
        return max(attempts, key=lambda active: active.run.attempt, default=None)

    def hand_back(self) -> None:
        """Stop all runs, and those whose claim is under way, so that they go on elsewhere."""
        self._handing_back = True
        for active in self._active:
            active.stop(Stop.DRAIN)

    def cancel(self, run_id: UUID) -> None:
        """A run was cancelled, maybe one of this worker's, and maybe one whose claim is still on its way here."""
        if (active := self.find(run_id)) is not None:
            active.stop(Stop.CANCEL)
        else:
            self._cancelled.append(run_id)

    async def execute(self, active: ActiveRun) -> Ended | HandedBack | Lost:
        """Run one attempt to whatever end it comes."""
        if self._handing_back:
            return HandedBack()
        parts, run = self._parts, active.run
        if run.attempt == 1 and run.started_at is not None:
            parts.metrics.wait.observe((run.started_at - (run.not_before or run.created_at)).total_seconds())
        started = time.perf_counter()
        spec = conventions.execute(
            graph_id=run.graph_id,
            assistant_id=run.assistant_id,
            thread_id=run.thread_id,
            run_id=run.run_id,
            attempt=run.attempt,
            route=run.route,
        )
        self._active.add(active)
        if run.run_id in self._cancelled:
            # Its row says so too, but that is not read again before the next heartbeat.
            active.stop(Stop.CANCEL)
        try:
            with (
                bind(run_id=run.run_id, thread_id=run.thread_id, attempt=run.attempt),
                parts.tracing.span(*spec, parent=active.trace) as span,
            ):
                return await self._attempt(active, parts.tracing.context(span))
        finally:
            self._active.discard(active)
            self._leave_threads_behind(run)
            parts.metrics.execution.observe(time.perf_counter() - started)

    async def _attempt(self, active: ActiveRun, trace: Any) -> Ended | HandedBack | Lost:
        run = active.run
        writer = self._parts.publisher.writer(
            run.run_id,
            run.attempt,
            lambda: self._parts.leases.valid(active),
            thread=thread_channel(run.thread_id, run.tenant),
            base=place_of(run.updated_at),  # a claim writes the row; nothing does before its worker has it
        )
        ended = await self._guarded(active, writer, trace)
        if isinstance(ended, HandedBack | Lost):
            await self._close(writer, None)
        else:
            self._turned_away.forget(run.run_id)
            # By attempt: one that lost its run may still be winding up when this worker has the next one.
            self._ending[run.run_id, run.attempt] = Ending(writer, ended.outcome)
        return ended

    async def _guarded(self, active: ActiveRun, writer: EventWriter, trace: Any) -> Ended | HandedBack | Lost:
        """Everything that can happen to an attempt, and what it means for the run."""
        try:
            writer.write(
                "metadata", json.encode({"run_id": active.run.run_id, "attempt": active.run.attempt})
            )
            return await self._in_graph(active, writer, trace)
        except Fenced as error:
            log.warning("%s", error)
            return Lost()
        except Unavailable as error:
            log.warning("%s", error)
            return await self._turn_away(active, writer, error)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and being_cancelled():
                raise
            # A graph that cannot be made, or whose state cannot be read: no retry would mend it. A cancellation that nobody
            # here asked for is the user's code's own, and must not end the slot.
            log.exception("run %s failed", active.run.run_id)
            return self._failed_without_state(writer, error)

    async def _turn_away(
        self, active: ActiveRun, writer: EventWriter, error: Unavailable
    ) -> Ended | HandedBack | Lost:
        """Something that the run needs is away: it goes back, unless it has done so too often for that to heal."""
        if not self._parts.leases.reached_since(active.since):
            return HandedBack()  # it is Postgres, for all runs
        try:
            async with asyncio.timeout(READ_SECS):
                found = await self._parts.savers.shared.aget_tuple(newest_of(active.run))
        except Exception as unread:  # noqa: BLE001 - of a checkpointer of the user's own it may be any
            log.warning("how far run %s got could not be read: %r", active.run.run_id, unread)
            return HandedBack()
        times = self._turned_away.again(active.run.run_id, None if found is None else found.checkpoint["id"])
        if times < MOST_TIMES:
            return HandedBack(times)
        log.error("run %s is given up: %s times in a row: %s", active.run.run_id, times, error)
        return self._failed_without_state(
            writer,
            Unavailable(
                f"The run was given up: {times} attempts in a row ended at the same step, though Postgres answered this worker all "
                f"the time. Its last checkpoint is kept. The last of them ended with: {error}"
            ),
        )

    def _holds(self, active: ActiveRun) -> bool:
        """Whether a run waits where it is while Postgres is away: as long as nobody else may have it, or is to."""
        if self._handing_back or active.stopped in (Stop.DRAIN, Stop.LOST):
            return False
        in_time = active.over_at is None or time.monotonic() < active.over_at + READ_SECS
        return in_time and self._parts.leases.valid(active)

    async def _in_graph(
        self, active: ActiveRun, writer: EventWriter, trace: Any
    ) -> Ended | HandedBack | Lost:
        parts, run = self._parts, active.run
        resumed = await resumes(run, parts.savers, parts.runs)
        config = run_config(run, resumed=resumed)
        saver = await parts.savers.of_run(run, lambda: self._holds(active))
        spans = self._trace_nodes(config, trace)
        try:
            async with parts.registry.open(
                run.graph_id,
                "threads.create_run",
                checkpointer=saver,
                store=store_of_run(parts.store, run),
                config=config,
                context=run.kwargs.get("context"),
            ) as graph:
                attempt = Attempt(
                    active,
                    graph,
                    config,
                    writer,
                    given=await (answers_left if resumed else given_to)(graph, run),
                    saver=saver,
                    on_first_event=parts.metrics.first_event.observe,
                )
                # What an earlier attempt has given was looked at then.
                if not resumed and (refused := await self._refusal(run, graph, config)) is not None:
                    return await self._failed_untouched(attempt, writer, refused)
                return await self._watched(active, attempt, writer)
        finally:
            if spans is not None:
                spans.close()

    async def _refusal(self, run: Run, graph: Graph, config: RunnableConfig) -> Forbidden | None:
        """Why the run may not give its answer to what is asked where it begins."""
        if self._parts.approvals is None or not run.kwargs.get("command"):
            return None
        snapshot = await readable_state(graph, config)
        return await self._parts.approvals.refusal(run, snapshot.interrupts)

    async def _failed_untouched(self, attempt: Attempt, writer: EventWriter, error: Exception) -> Ended:
        """It failed before it did anything: the thread rests as it did."""
        failure = _error(error)
        writer.write("error", json.encode(failure))
        return Ended(await attempt.stopped("error", failure, untouched=True))

    def _trace_nodes(self, config: RunnableConfig, trace: Any) -> NodeSpans | None:
        if not self._parts.tracing.enabled:
            return None
        spans = NodeSpans(self._parts.tracing, trace)
        config["callbacks"] = [spans]
        return spans

    async def _watched(
        self, active: ActiveRun, attempt: Attempt, writer: EventWriter
    ) -> Ended | HandedBack | Lost:
        """Let the graph run until it ends, is stopped, or has had its time."""
        task = asyncio.create_task(attempt.stream(), name=f"run-{active.run.run_id}")
        timer = asyncio.get_running_loop().call_later(self._parts.timeout_secs, active.stop, Stop.TIMEOUT)
        try:
            if not await active.drive(task, STOP_GRACE_SECS):
                self._leave_behind(task)
        finally:
            timer.cancel()
            task.cancel()
        if active.stopped is not None:
            return await self._stopped(active, attempt, writer, active.stopped)
        try:
            task.result()
        except GraphDrained:
            return HandedBack()
        except (Fenced, Unavailable):
            raise
        except Exception as error:
            if (away := unavailable_in(error)) is not None:
                raise away from error
            log.info("graph raised: %r", error, exc_info=error)
            failure = _error(error)
            writer.write("error", json.encode(failure))
            untouched = isinstance(error, UnknownInterruptError)
            return Ended(await attempt.stopped("error", failure, untouched=untouched))
        return Ended(await attempt.succeeded())

    async def _stopped(
        self, active: ActiveRun, attempt: Attempt, writer: EventWriter, reason: Stop
    ) -> Ended | HandedBack | Lost:
        match reason:
            case Stop.LOST:
                return Lost()
            case Stop.DRAIN:
                return HandedBack()
            case Stop.CANCEL:
                return Ended(await attempt.stopped("interrupted", CANCELLED))
            case Stop.TIMEOUT:
                failure = timed_out(active.run, self._parts.timeout_secs)
                writer.write("error", json.encode(failure))
                return Ended(await self._timed_out(attempt, failure))

    async def _timed_out(self, attempt: Attempt, failure: dict[str, str]) -> Outcome:
        """With what the graph left; without, if that cannot be read: it has had its time, and gets no more of it elsewhere."""
        try:
            return await attempt.stopped("timeout", failure)
        except Unavailable as error:
            log.warning("a run that has had its time ends without its values: %s", error)
            return Outcome(status="timeout", resting="error", error=json.encode(failure))

    def _failed_without_state(self, writer: EventWriter, error: BaseException) -> Ended | Lost:
        failure = _error(error)
        try:
            writer.write("error", json.encode(failure))
        except Fenced:
            return Lost()
        return Ended(Outcome(status="error", resting="error", error=json.encode(failure)))

    @property
    def left_behind(self) -> int:
        """Pieces of user code that go on although their runs have ended."""
        return len(self._left_behind) + self._parts.threads.left_behind()

    def worn_out(self) -> bool:
        """Whether so many of them have gone on for so long that this process had better be started anew."""
        left = len(self._left_behind) + self._parts.threads.left_behind(LEFT_FOR_GOOD_SECS)
        return left >= self._parts.most_left_behind

    def _leave_threads_behind(self, run: Run) -> None:
        if count := self._parts.threads.leave_behind(run.run_id, run.attempt):
            log.warning(
                "run %s has ended, and %s synchronous nodes of it go on in threads, which cannot be stopped; they can write "
                "nothing",
                run.run_id,
                count,
            )
        if self.worn_out():
            log.critical(
                "%s pieces of user code go on although their runs have ended; this worker winds down, and wants to be started "
                "anew",
                self.left_behind,
            )
            self._parts.wind_down()

    def _leave_behind(self, task: asyncio.Task[None]) -> None:
        log.error(
            "%s does not stop when it is cancelled; it is left behind, and can write nothing", task.get_name()
        )
        self._left_behind.add(task)
        task.add_done_callback(self._forget_left_behind)

    def _forget_left_behind(self, task: asyncio.Task[None]) -> None:
        self._left_behind.discard(task)
        error = None if task.cancelled() else task.exception()
        log.info("%s, which was left behind, has ended: %s", task.get_name(), error or "nothing came of it")

    async def announce_end(self, ended: EndedRun) -> None:
        """Tell who watches that the run is over; its outcome is committed."""
        ending = self._ending.pop((ended.run_id, ended.attempt), None)
        if ending is not None:
            await self._close(ending.writer, ending.marker(ended.status))
            return
        try:
            await publish_end(
                self._parts.redis,
                ended.run_id,
                ended.attempt + 1,
                {"status": ended.status},
                limits=self._parts.limits,
            )
        except Unavailable as error:
            log.debug("end of run %s not published: %s", ended.run_id, error)

    async def _close(self, writer: EventWriter, end: dict[str, Any] | None) -> None:
        await writer.close(end)
        self._parts.metrics.events_published.inc(writer.published)
        self._parts.metrics.events_dropped.inc(writer.dropped)

    def forget(self, run: Run) -> None:
        """The outcome could not be written: nothing more is published for this attempt."""
        self._ending.pop((run.run_id, run.attempt), None)


def _error(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "message": str(error)}
