"""The handlers of `langgraph_sdk.Auth` that say who may do what."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, cast

from langgraph_sdk import Auth
from langgraph_sdk.auth.types import AuthContext, BaseUser, Handler

from treadle.db.scope import Condition
from treadle.errors import Forbidden
from treadle.identity import User
from treadle_api.access.custom import Refused
from treadle_api.access.permissions import Action, Resource

log = logging.getLogger(__name__)


class Rules:
    """Asks the handler that is closest to an action: of the resource and the action, of the resource, of the action, of all."""

    def __init__(self, auth: Auth) -> None:
        # These names are the library's promise to servers.
        handlers = auth._handlers  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        everything = auth._global_handlers  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self._handlers = {**handlers, ("*", "*"): everything}

    async def ask(
        self, user: Mapping[str, Any], resource: Resource, action: Action, value: dict[str, Any]
    ) -> list[Condition]:
        """What metadata have to be like; none: whatever.

        Args:
            value: what is asked for; the handler may change it in place.

        Raises:
            Forbidden: the handler says no.
            Refused: it has raised an HTTPException of its own.
        """
        if (handler := self._closest(resource, action)) is None:
            return []
        context = _context(user, resource, action)
        try:
            said = await handler(ctx=context, value=value)
        except Auth.exceptions.HTTPException as error:
            raise Refused.of(error) from error
        if said is False:
            raise Forbidden(f"{user.get('identity', '')!r} may not {action} {resource} here.")
        return [] if said is None or said is True else conditions(said)

    def _closest(self, resource: str, action: str) -> Handler | None:
        for place in ((resource, action), (resource, "*"), ("*", action), ("*", "*")):
            if found := self._handlers.get(place):
                return found[-1]
        return None


def conditions(said: Any) -> list[Condition]:
    """A handler's filter.

    Raises:
        TypeError: it is none; that is a defect of the handler.
    """
    if not isinstance(said, Mapping):
        raise TypeError(
            f"A handler of `auth` returned a {type(said).__name__}: it must be None, True, False or a filter."
        )
    return [
        condition
        for key, wanted in cast("Mapping[str, Any]", said).items()
        for condition in _conditions(str(key), wanted)
    ]


def _conditions(key: str, wanted: Any) -> list[Condition]:
    if not isinstance(wanted, Mapping):
        return [(key, "eq", wanted)]
    return [_condition(key, name, value) for name, value in cast("Mapping[str, Any]", wanted).items()]


def _condition(key: str, name: str, value: Any) -> Condition:
    if name == "$eq":
        return key, "eq", value
    if name == "$contains":
        listed = [*cast("Iterable[Any]", value)] if isinstance(value, list | tuple | set) else [value]
        return key, "contains", listed
    raise TypeError(f"A handler of `auth` filters {key!r} by {name!r}: there are `$eq` and `$contains`.")


def _context(user: Mapping[str, Any], resource: Resource, action: Action) -> AuthContext:
    known = User(user)
    return AuthContext(
        permissions=known.permissions, user=cast(BaseUser, known), resource=resource, action=action
    )
