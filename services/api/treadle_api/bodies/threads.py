"""Threads, as clients ask for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from treadle.db.thread_search import SortBy
from treadle.wire.runs import Command
from treadle_api.bodies.fields import Limit, Offset

# A century is longer than anybody's threads live, and shorter than what an interval can hold.
Minutes = Annotated[float, Meta(ge=0, le=100 * 366 * 1440)]
Status = Literal["idle", "busy", "interrupted", "error"]
# `context` is one of the client's, but nothing that a thread has.
Selectable = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "context",
    "status",
    "values",
    "interrupts",
]


class TtlBody(Struct, kw_only=True):
    """Minutes from the last thing that happens on the thread, and what is done then."""

    ttl: Minutes
    strategy: Literal["delete", "keep_latest"] = "delete"


class SuperstepUpdate(Struct, kw_only=True):
    """What a node is taken to have returned: values, or a command."""

    as_node: str
    values: dict[str, Any] | list[Any] | None = None
    command: Command | None = None


class Superstep(Struct, kw_only=True):
    """Updates that happen at once."""

    updates: Annotated[list[SuperstepUpdate], Meta(min_length=1)]


class NewThread(Struct, kw_only=True):
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    ttl: TtlBody | Minutes | None = None
    supersteps: list[Superstep] | None = None


class ThreadPatch(Struct, kw_only=True):
    metadata: dict[str, Any] | None = None
    ttl: TtlBody | Minutes | None = None


class ThreadCount(Struct, kw_only=True):
    """What threads must be like."""

    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    status: Status | None = None
    ids: list[str] | None = None


class ThreadSearchBody(ThreadCount, kw_only=True):
    """What threads must be like, and which of them are wanted, and what of each."""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: SortBy | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[Selectable] | None = None
    extract: Annotated[dict[str, str], Meta(max_length=10)] | None = None


class ThreadPrune(Struct, kw_only=True):
    thread_ids: list[str]
    strategy: Literal["delete", "keep_latest"] = "delete"
