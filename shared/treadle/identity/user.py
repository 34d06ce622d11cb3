"""Who asks, as graphs and handlers see it: under the names that Agent Servers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from treadle.identity.caller import Caller

# Whatever begins so in a run's config is said by the server, not by the request.
PREFIX = "langgraph_auth_"
USER = "langgraph_auth_user"


def user_of(caller: Caller) -> dict[str, Any]:
    """What is told of whoever has proved who it is; what else is known of the user does not hide the names that are fixed."""
    return {
        "display_name": caller.identity,
        **caller.more,
        "identity": caller.identity,
        "is_authenticated": True,
        "permissions": list(caller.permissions),
        "tenant": caller.tenant,
    }


def configurable(user: Mapping[str, Any]) -> dict[str, Any]:
    """What the config of a run has besides, when it is known who asked for it."""
    return {
        USER: dict(user),
        "langgraph_auth_user_id": user["identity"],
        "langgraph_auth_permissions": list(user["permissions"]),
    }


class User(dict[str, Any]):
    """A user as langgraph's `Runtime.server_info.user` wants it: read by attribute and by key.

    The protocol is `langgraph_sdk.auth.types.BaseUser`; what else is known of the user is read in the same two ways.
    """

    @property
    def identity(self) -> str:
        return self["identity"]

    @property
    def display_name(self) -> str:
        return self["display_name"]

    @property
    def is_authenticated(self) -> bool:
        return self["is_authenticated"]

    @property
    def permissions(self) -> Sequence[str]:
        return cast("Sequence[str]", self["permissions"])

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the user has no {name!r}; there are: {', '.join(sorted(self))}") from None
