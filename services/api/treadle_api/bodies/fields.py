"""What bodies of several kinds have in common."""

from __future__ import annotations

from typing import Annotated

from litestar.params import Parameter
from msgspec import Meta

Limit = Annotated[int, Meta(ge=1, le=1000)]
# As far as Postgres counts, with a page beyond it.
FURTHEST = 2**63 - 2000
Offset = Annotated[int, Meta(ge=0, le=FURTHEST)]
# The same in a query string.
QueryLimit = Annotated[int, Parameter(ge=1, le=1000)]
QueryOffset = Annotated[int, Parameter(ge=0, le=FURTHEST)]

# What a `text` column can hold: no NUL.
Text = Annotated[str, Meta(pattern=r"^[^\u0000]*$")]
