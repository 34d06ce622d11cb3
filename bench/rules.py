"""A `langgraph_sdk.Auth` that knows everybody and lets each see its own: what bench/auth.py measures."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    return {"identity": (authorization or "").removeprefix("Bearer ")}


@auth.on
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    value.setdefault("metadata", {}).update({"owner": ctx.user.identity})
    return {"owner": ctx.user.identity}
