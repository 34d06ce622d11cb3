"""Runs, as clients ask for them, over HTTP and over NATS."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from treadle.model import MultitaskStrategy

StreamMode = Literal[
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "events",
    "debug",
    "tasks",
    "checkpoints",
]
# Seconds; a year is longer than anybody waits, and shorter than what an interval can hold.
Delay = Annotated[float, Meta(ge=0, le=366 * 86400)]
Durability = Literal["sync", "async", "exit"]
OnDisconnect = Literal["cancel", "continue"]


class Checkpoint(Struct, kw_only=True, omit_defaults=True):
    """Where in a thread's history: a checkpoint, and the subgraph that it belongs to."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: dict[str, Any] | None = None


class SendTo(Struct, kw_only=True):
    """A node to go to, with an input of its own."""

    node: str
    input: Any = None


class Command(Struct, kw_only=True, omit_defaults=True):
    """An answer to an interrupt, an update of the state, or a node to go to, in place of an input."""

    update: dict[str, Any] | list[tuple[str, Any]] | None = None
    resume: Any = None
    goto: str | SendTo | list[str | SendTo] | None = None


class Config(Struct, kw_only=True, omit_defaults=True):
    """A run's config, as langchain's RunnableConfig has it."""

    tags: list[str] | None = None
    recursion_limit: Annotated[int, Meta(ge=1)] | None = None
    configurable: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    max_concurrency: Annotated[int, Meta(ge=1)] | None = None
    run_name: str | None = None


class LangSmithTracer(Struct, kw_only=True, omit_defaults=True):
    """Where LangSmith files the trace of a run, on a worker that sends it traces."""

    project_name: str | None = None
    example_id: str | None = None


class RunFields(Struct, kw_only=True):
    """What a run is given, be it made now or on a schedule."""

    input: Any = None
    command: Command | None = None
    config: Config | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    multitask_strategy: MultitaskStrategy | None = None
    durability: Durability | None = None
    checkpoint_during: bool | None = None
    webhook: Annotated[str, Meta(min_length=1)] | None = None


class NewRun(RunFields, kw_only=True):
    """A run to be made, on a thread or stateless.

    `on_completion` is about the thread that a stateless run gets; `on_disconnect`, about a client that waits.
    """

    assistant_id: str
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None
    on_disconnect: OnDisconnect | None = None
    on_completion: Literal["delete", "keep"] | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    after_seconds: Delay | None = None
    strict_resume: bool | None = None
    feedback_keys: list[str] | None = None
    langsmith_tracer: LangSmithTracer | None = None


class BatchRun(NewRun, kw_only=True):
    """One run of a batch: stateless, unless it names a thread."""

    thread_id: UUID | None = None


class RunsCancel(Struct, kw_only=True):
    """Which runs to cancel: all of a status, on whichever thread, or some of one thread."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: str | None = None
    run_ids: list[str] | None = None
