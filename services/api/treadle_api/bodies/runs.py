"""Runs, as clients ask for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from treadle.model import MultitaskStrategy
from treadle_api.bodies.fields import Checkpoint, Delay

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
    strict_resume: bool | None = None
    checkpoint_during: bool | None = None
    webhook: str | None = None
