"""Who asks, as graphs see it: in their config, under the names that Agent Servers use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from treadle.identity.header import Identity

# Whatever begins so in a run's config is said by the server, not by the request.
PREFIX = "langgraph_auth_"
USER = "langgraph_auth_user"


def configurable(identity: Identity) -> dict[str, Any]:
    """What the config of a run has besides, when it is known who asked for it."""
    user: dict[str, Any] = {
        "identity": identity.user,
        "display_name": identity.user,
        "is_authenticated": True,
        "permissions": [],
        "tenant": identity.tenant,
    }
    return {USER: user, "langgraph_auth_user_id": identity.user, "langgraph_auth_permissions": []}


class User(dict[str, Any]):
    """A user as langgraph's `Runtime.server_info.user` wants it: read by attribute and by key.

    The protocol is `langgraph_sdk.auth.types.BaseUser`.
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

    @property
    def tenant(self) -> str | None:
        return self["tenant"]
