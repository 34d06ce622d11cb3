"""Lists that come page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from litestar import Response

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
