"""An `Auth` as its documentation has it: tokens that are names, owners, and a namespace of the store for each."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(
    authorization: str | None,
    method: str,
    path: str,
    path_params: dict[str, str],
    query_params: Any,
    headers: dict[bytes, bytes],
) -> Auth.types.MinimalUserDict:
    if not authorization or not authorization.startswith("Bearer "):
        raise Auth.exceptions.HTTPException(
            status_code=401, detail="Who are you?", headers={"x-asked": f"{method} {path}"}
        )
    name = authorization.removeprefix("Bearer ")
    if name == "broken":
        raise RuntimeError(f"the token {name} cannot be read")
    tenant = headers.get(b"x-tenant", b"").decode() or query_params.get("tenant")
    user: Any = {"identity": name, "permissions": [f"{name}:all"], "plan": "free", "path": dict(path_params)}
    return user | ({"tenant": tenant} if tenant else {})


@auth.on
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType | bool:
    if ctx.user.identity == "nobody":
        return False
    value.setdefault("metadata", {}).update({"owner": ctx.user.identity})
    return {"owner": ctx.user.identity}


@auth.on.threads.read
async def shared(
    ctx: Auth.types.AuthContext, value: Auth.types.on.threads.read.value
) -> Auth.types.FilterType:
    if ctx.user.identity == "auditor":
        return {"readers": {"$contains": "auditor"}}
    return {"owner": {"$eq": ctx.user.identity}}


@auth.on.store
async def namespaced(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
