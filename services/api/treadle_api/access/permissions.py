"""What each action needs: the permissions that the server itself tells apart, by resource and action."""

from __future__ import annotations

from typing import Literal

from treadle.errors import Forbidden
from treadle.identity.caller import Caller, Permission

Resource = Literal["assistants", "threads", "crons", "store"]
Action = Literal[
    "create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"
]

READING = frozenset({"read", "search", "get", "list_namespaces"})
# What changes something. Assistants are what a tenant's clients run; a cron is runs to come.
CHANGING: dict[tuple[str, str], Permission] = {
    ("threads", "create"): Permission.RUN,
    ("threads", "create_run"): Permission.RUN,
    ("threads", "update"): Permission.UPDATE,
    ("threads", "delete"): Permission.UPDATE,
    ("crons", "create"): Permission.RUN,
    ("crons", "update"): Permission.RUN,
    ("crons", "delete"): Permission.RUN,
    ("store", "put"): Permission.UPDATE,
    ("store", "delete"): Permission.UPDATE,
    ("assistants", "create"): Permission.ADMINISTER,
    ("assistants", "update"): Permission.ADMINISTER,
    ("assistants", "delete"): Permission.ADMINISTER,
}


def needed(resource: Resource, action: Action) -> Permission:
    """What somebody needs to do this."""
    return Permission.READ if action in READING else CHANGING[resource, action]


def check(caller: Caller, permission: Permission) -> None:
    """Raises Forbidden if the caller has not got it."""
    if permission not in caller.granted:
        has = ", ".join(sorted(caller.granted)) or "none"
        raise Forbidden(
            f"This needs the permission `{permission}`, and {caller.identity!r} has: {has}. Whoever issues its credential can "
            "grant it."
        )
