"""Requests whose bodies keep to the limits, whichever route reads them."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.exceptions import ClientException
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from treadle.wire.limits import BodyLimits


def limited(limits: BodyLimits) -> type[Request[Any, Any, Any]]:
    """The framework's request, which refuses a body that is too large, too deep, or holds too much."""

    class Limited(Request[Any, Any, Any]):
        async def body(self) -> bytes:
            """Raises TooLarge."""
            try:
                return await super().body()
            except ClientException as error:
                if error.status_code != HTTP_413_REQUEST_ENTITY_TOO_LARGE:
                    raise
                raise limits.too_large() from None

        async def json(self) -> Any:
            """Raises InvalidRequest, and TooLarge as `body` does."""
            try:
                value = await super().json()
            except RecursionError:
                raise limits.too_deep() from None
            limits.check(value, len(await self.body()))
            return value

    return Limited
