"""What bodies of several kinds have in common."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.params import Parameter
from msgspec import Meta, Struct

# Seconds; a year is longer than anybody waits, and shorter than what an interval can hold.
Delay = Annotated[float, Meta(ge=0, le=366 * 86400)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
# As far as Postgres counts, with a page beyond it.
FURTHEST = 2**63 - 2000
Offset = Annotated[int, Meta(ge=0, le=FURTHEST)]
# The same in a query string.
QueryLimit = Annotated[int, Parameter(ge=1, le=1000)]
QueryOffset = Annotated[int, Parameter(ge=0, le=FURTHEST)]

# What a `text` column can hold: no NUL.
Text = Annotated[str, Meta(pattern=r"^[^\u0000]*$")]


class Checkpoint(Struct, kw_only=True, omit_defaults=True):
    """Where in a thread's history: a checkpoint, and the subgraph that it belongs to."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: dict[str, Any] | None = None
