"""Assistants, as clients ask for them."""

from __future__ import annotations

from msgspec import Struct

from treadle_api.bodies.fields import Limit, Offset


class AssistantSearch(Struct, kw_only=True):
    graph_id: str | None = None
    limit: Limit = 10
    offset: Offset = 0
