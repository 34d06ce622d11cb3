"""Lists that come page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from litestar import Response
from msgspec import Struct

Found = TypeVar("Found")
View = TypeVar("View")


def page(
    found: Sequence[Found], view: Callable[[Found], View], *, limit: int, offset: int
) -> Response[list[View]]:
    """One page, with headers that say how much was seen and where the next page begins.

    Args:
        found: what was found from `offset` on: one more than `limit`, if there is more.
    """
    headers = {"x-pagination-total": str(offset + len(found))}
    if len(found) > limit:
        headers["x-pagination-next"] = str(offset + limit)
    return Response([view(item) for item in found[:limit]], headers=headers)


def selected(view: Struct, names: Sequence[str] | None) -> dict[str, Any]:
    """A view's members by name: those that are wanted, in their own order; all of them where none is named."""
    return {name: getattr(view, name) for name in view.__struct_fields__ if not names or name in names}
