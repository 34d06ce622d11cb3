"""What clients send, typed. Fields that Treadle does not know are ignored, as the protocol has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar.params import Parameter
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
Durability = Literal["sync", "async", "exit"]
OnDisconnect = Literal["cancel", "continue"]

# Seconds; a year is longer than anybody waits, and shorter than what an interval can hold.
Delay = Annotated[float, Meta(ge=0, le=366 * 86400)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0)]
# The same in a query string.
QueryLimit = Annotated[int, Parameter(ge=1, le=1000)]
QueryOffset = Annotated[int, Parameter(ge=0)]


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


class NewRun(Struct, kw_only=True):
    """A run to be made, on a thread or stateless."""

    assistant_id: str
    input: Any = None
    command: Command | None = None
    config: Config | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    multitask_strategy: MultitaskStrategy | None = None
    on_disconnect: OnDisconnect | None = None
    on_completion: Literal["delete", "keep"] | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    after_seconds: Delay | None = None
    durability: Durability | None = None
    checkpoint_during: bool | None = None
    webhook: str | None = None


class NewThread(Struct, kw_only=True):
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class ThreadPatch(Struct, kw_only=True):
    metadata: dict[str, Any] | None = None


class StateUpdate(Struct, kw_only=True):
    """New values, as if the node `as_node` had returned them."""

    values: dict[str, Any] | list[Any] | None = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None


class StateAt(Struct, kw_only=True):
    checkpoint: Checkpoint
    subgraphs: bool | None = None


class Before(Struct, kw_only=True):
    """A checkpoint, as a config names it or plainly."""

    configurable: Checkpoint | None = None
    checkpoint_id: str | None = None


class HistoryQuery(Struct, kw_only=True):
    limit: Limit | None = None
    before: str | Before | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: Checkpoint | None = None


class AssistantSearch(Struct, kw_only=True):
    graph_id: str | None = None
    limit: Limit = 10
    offset: Offset = 0
