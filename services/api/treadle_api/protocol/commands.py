"""Commands of the protocol: what a client asks of a thread besides its events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.errors import Conflict, InvalidRequest, NotFound, QueueFull, TreadleError, Unavailable
from treadle.model import MultitaskStrategy, Run, Thread
from treadle.operations.create import Creation
from treadle.operations.ids import new_id
from treadle.wire.runs import Checkpoint, Command, NewRun
from treadle_api.access.access import Access
from treadle_api.bodies.protocol import Fork, ListCheckpoints, Nothing, Respond, RunStart, StateGet
from treadle_api.operations.states import States

# So many runs of a busy thread are looked through for an answer that is on its way.
NEWEST = 100

P = TypeVar("P", bound=Struct)
Result = dict[str, Any]


class Refused(TreadleError):
    """A command that cannot be carried out; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Envelope(Struct):
    """A command as it comes."""

    id: int
    method: str
    params: dict[str, Any] = {}


def read_command(given: Any) -> Envelope:
    """Read a command's frame.

    Raises:
        Refused: it has no whole number as its `id`, no `method`, or `params` that are no object.
    """
    try:
        return msgspec.convert(given, Envelope)
    except msgspec.ValidationError as error:
        raise Refused(
            "invalid_argument",
            f"A command is an object with a whole number `id`, a string `method` and an object `params`: {error}",
        ) from error


def id_of(given: Any) -> Any:
    """The id of what may be no command, for its refusal."""
    return cast("dict[str, Any]", given).get("id") if isinstance(given, dict) else None


def refusal(command_id: Any, error: Exception) -> Result:
    """The answer to a command that failed."""
    code = error.code if isinstance(error, Refused) else CODES.get(type(error), "unknown_error")
    return {"type": "error", "id": command_id, "error": code, "message": str(error)}


def success(command_id: int, result: Result) -> Result:
    """The answer to a command; a stream that is opened after it begins with whatever its own `since` says."""
    return {"type": "success", "id": command_id, "result": result, "meta": {"applied_through_seq": 0}}


CODES: Mapping[type[Exception], str] = {
    InvalidRequest: "invalid_argument",
    NotFound: "invalid_argument",
    Conflict: "invalid_argument",
}


class ProtocolCommands:
    """Carries commands out."""

    def __init__(self, creation: Creation, threads: Threads, runs: Runs, states: States) -> None:
        self._creation = creation
        self._threads = threads
        self._runs = runs
        self._states = states
        self._methods: Mapping[str, tuple[type[Struct], Callable[[Access, UUID, Any], Awaitable[Result]]]] = {
            "run.start": (RunStart, self._start),
            "input.respond": (Respond, self._respond),
            "state.get": (StateGet, self._state),
            "state.listCheckpoints": (ListCheckpoints, self._checkpoints),
            "state.fork": (Fork, self._fork),
            "agent.getTree": (Nothing, self._tree),
        }

    async def execute(self, access: Access, thread_id: UUID, command: Envelope) -> Result:
        """Carry a command out and answer it; what is wrong with it is an answer too.

        Raises:
            Unavailable: Postgres cannot be reached; nothing was done.
            QueueFull: no more runs may wait.
        """
        try:
            kind, method = self._method(command.method)
            return success(command.id, await method(access, thread_id, _params(kind, command)))
        except (Unavailable, QueueFull):
            raise
        except TreadleError as error:
            return refusal(command.id, error)

    def _method(self, name: str) -> tuple[type[Struct], Callable[[Access, UUID, Any], Awaitable[Result]]]:
        if name in self._methods:
            return self._methods[name]
        if name == "subscription.unsubscribe":
            raise Refused(
                "no_such_subscription", "A stream of server-sent events is unsubscribed by closing it"
            )
        if name in ELSEWHERE:
            raise Refused("not_supported", f"{name} is not served here: {ELSEWHERE[name]}")
        raise Refused("unknown_command", f"Unknown protocol command: {name[:64]}")

    async def _start(self, access: Access, thread_id: UUID, params: RunStart) -> Result:
        new = NewRun(
            assistant_id=params.assistant_id,
            input=params.input,
            config=params.config,
            context=params.context,
            metadata=params.metadata,
            multitask_strategy=params.multitask_strategy or params.multitask_strategy_too,
        )
        return {"run_id": str((await self._create(access, thread_id, new)).run_id)}

    async def _respond(self, access: Access, thread_id: UUID, params: Respond) -> Result:
        answers = params.answers
        if not answers:
            raise Refused("invalid_argument", "input.respond takes an `interrupt_id`, or some `responses`")
        thread, newest, on = await self._at_work(access, thread_id)
        for interrupt_id in answers:
            if not _open(thread, on, interrupt_id):
                raise Refused("no_such_interrupt", f"Unknown or already answered interrupt: {interrupt_id}")
        new = NewRun(
            assistant_id=str(newest.assistant_id),
            command=Command(resume=answers, update=params.update, goto=params.goto),
            config=params.config,
            metadata=params.metadata,
            strict_resume=params.strict_resume or bool(on),
            multitask_strategy=MultitaskStrategy.ENQUEUE if on else MultitaskStrategy.REJECT,
        )
        try:
            await self._create(access, thread_id, new, asked_by=newest.run_id)
        except Conflict:
            raise Refused("no_such_interrupt", "Another client has been quicker to answer") from None
        return {}

    async def _at_work(self, access: Access, thread_id: UUID) -> tuple[Thread, Run, list[Run]]:
        """A thread, its newest run, and the runs that it is busy with, all of one moment."""
        while True:
            scope, thread, newest = await self._newest(access, thread_id)
            if thread.status != "busy":
                return thread, newest, []
            with postgres_errors("reading runs"):
                runs = await self._runs.of_thread(scope, thread_id, limit=NEWEST)
            if on := [run for run in runs if not run.status.terminal]:
                return thread, newest, on

    async def _create(
        self, access: Access, thread_id: UUID, new: NewRun, asked_by: UUID | None = None
    ) -> Run:
        new = msgspec.structs.replace(new, if_not_exists="create", stream_subgraphs=True)
        return await self._creation.create(
            access, new_id(), thread_id, new, stateless=False, protocol=True, asked_by=asked_by
        )

    async def _state(self, access: Access, thread_id: UUID, params: StateGet) -> Result:
        state = await self._states.get(
            access, await _readable(access, thread_id), thread_id, _at(params.namespace), subgraphs=False
        )
        values = state.values
        if params.keys is not None and isinstance(values, dict):
            known = cast("dict[str, Any]", values)
            values = {key: known[key] for key in params.keys if key in known}
        if state.checkpoint_id is None:
            return {"values": values}
        return {"values": values, "checkpoint": {"id": state.checkpoint_id, "ns": "|".join(params.namespace)}}

    async def _checkpoints(self, access: Access, thread_id: UUID, params: ListCheckpoints) -> Result:
        history = await self._states.history(
            access,
            await _readable(access, thread_id),
            thread_id,
            _at(params.namespace),
            limit=params.limit,
            before=params.before,
            metadata=None,
        )
        return {
            "checkpoints": [
                {
                    "id": state.checkpoint_id,
                    "timestamp": state.created_at,
                    "step": (state.metadata or {}).get("step"),
                    "metadata": state.metadata,
                }
                for state in history
            ]
        }

    async def _fork(self, access: Access, thread_id: UUID, params: Fork) -> Result:
        _, _, newest = await self._newest(access, thread_id)
        run = await self._create(
            access,
            thread_id,
            NewRun(
                assistant_id=str(newest.assistant_id),
                input=params.input,
                config=params.config,
                checkpoint_id=params.checkpoint_id,
            ),
        )
        return {"run_id": str(run.run_id), "thread_id": str(thread_id)}

    async def _tree(self, access: Access, thread_id: UUID, params: Nothing) -> Result:
        """The root alone: what is below it comes on the lifecycle channel."""
        _, thread, newest = await self._newest(access, thread_id)
        status = "interrupted" if thread.status == "interrupted" else STATUSES[newest.status.value]
        return {"tree": {"namespace": [], "status": status, "graph_name": newest.graph_id}}

    async def _newest(self, access: Access, thread_id: UUID) -> tuple[Scope, Thread, Run]:
        """The run first: if another one comes in between, the thread is as that one left it, and no answer to it passes."""
        scope = await _readable(access, thread_id)
        with postgres_errors("reading a thread"):
            runs = await self._runs.of_thread(scope, thread_id, limit=1)
            thread = await self._threads.get(scope, thread_id)
        if thread is None or not runs:
            raise Refused("no_such_run", f"Thread {thread_id} has no run")
        return scope, thread, runs[0]


# Methods of the protocol, and what to do instead.
ELSEWHERE = {
    "input.inject": "start a run with the message as its input.",
    "subscription.subscribe": "POST the filter to /threads/{thread_id}/stream/events, or open a websocket there.",
    "subscription.reconnect": "subscribe again, with the last `seq` as `since`.",
}
STATUSES = {
    "pending": "started",
    "running": "running",
    "success": "completed",
    "error": "failed",
    "timeout": "failed",
    "interrupted": "interrupted",
}


def _params(kind: type[P], command: Envelope) -> P:
    try:
        return msgspec.convert(command.params, kind)
    except msgspec.ValidationError as error:
        raise Refused("invalid_argument", f"{command.method}: {error}") from error


def _open(thread: Thread, on: Sequence[Run], interrupt_id: str) -> bool:
    """Whether a question can be answered.

    A client hears of a question before the run that asks has ended. Then the answer waits for that end, and langgraph
    decides: a run with an answer to what nobody asks fails.
    """
    if on:
        return not any(interrupt_id in _answers_of(run) for run in on)
    waiting = (interrupt["id"] for interrupts in thread.interrupts.values() for interrupt in interrupts)
    return interrupt_id in waiting


def _answers_of(run: Run) -> Collection[str]:
    command = cast("dict[str, Any]", run.kwargs.get("command") or {})
    resume = command.get("resume")
    return cast("dict[str, Any]", resume) if isinstance(resume, dict) else ()


async def _readable(access: Access, thread_id: UUID) -> Scope:
    return await access.allow("threads", "read", {"thread_id": thread_id})


def _at(namespace: list[str]) -> Checkpoint:
    return Checkpoint(checkpoint_ns="|".join(namespace)) if namespace else Checkpoint()
