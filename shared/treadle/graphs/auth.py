"""The `auth` section of langgraph.json: who asks, and who may do what."""

from __future__ import annotations

from typing import Any

import msgspec


class AuthSection(msgspec.Struct, frozen=True, kw_only=True):
    """The section as it is written.

    Args:
        path: of a `langgraph_sdk.Auth`.
        disable_studio_auth: there is no login of a Studio here, so that nothing is to be disabled.
        openapi: `securitySchemes` and `security` for the description of the API, as OpenAPI has them.
    """

    path: str | None = None
    disable_studio_auth: bool = False
    openapi: dict[str, Any] = {}
