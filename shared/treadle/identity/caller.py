"""Who sends a request, once that is proved, and in which tenant."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from treadle.errors import Unauthorized
from treadle.model import DEFAULT_TENANT

MAX_TENANT_CHARACTERS = 128


class Permission(StrEnum):
    """What the server itself tells apart. Resuming is one of its own: an answer to a question is an approval."""

    READ = "read"
    RUN = "run"
    RESUME = "resume"
    UPDATE = "update"
    ADMINISTER = "administer"


ALL = frozenset(Permission)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends a request.

    Args:
        identity: the user, as whoever vouches for it calls it.
        granted: what the server lets it do.
        permissions: what graphs and handlers see of that, in the words of whoever vouches.
        more: what else is known of the user; graphs and handlers see it, and nobody else does.
    """

    identity: str
    tenant: str = DEFAULT_TENANT
    granted: frozenset[Permission] = ALL
    permissions: tuple[str, ...] = ()
    more: Mapping[str, Any] = {}


class Authenticator(Protocol):
    """One way to prove who sends a request."""

    async def caller(self, headers: Mapping[str, str]) -> Caller | None:
        """Who it is; None: the request has no credential of this kind.

        Args:
            headers: by name, in small letters.

        Raises:
            Unauthorized: it has one, and it proves nothing.
            Unavailable: what could say so cannot be reached.
        """
        ...


def checked_tenant(name: str) -> str:
    """A tenant's name, if it can be one.

    Raises:
        Unauthorized: it cannot.
    """
    if not name or len(name) > MAX_TENANT_CHARACTERS or not name.isprintable():
        raise Unauthorized(
            f"The tenant {name[:MAX_TENANT_CHARACTERS]!r} cannot be used: its name must have 1 to {MAX_TENANT_CHARACTERS} "
            "printable characters. Whoever issued the credential has to name another one."
        )
    return name
