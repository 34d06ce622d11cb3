"""`auth` of langgraph.json: the user's own way to prove who asks, with what its function wants to know of a request."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, cast

import msgspec
from langgraph_sdk import Auth
from starlette.requests import HTTPConnection, Request

from treadle.errors import ConfigError, TreadleError, Unauthorized
from treadle.identity.caller import Caller, checked_tenant
from treadle.model import DEFAULT_TENANT

log = logging.getLogger(__name__)

FIXED = frozenset({"identity", "permissions", "is_authenticated", "tenant"})
# What a function may ask for by the name of its parameter.
GIVEN: Mapping[str, Callable[[HTTPConnection, bytes], Any]] = {
    "request": lambda connection, body: connection,
    "path": lambda connection, body: connection.scope["path"],
    "method": lambda connection, body: connection.scope.get("method"),
    "path_params": lambda connection, body: connection.scope.get("path_params") or {},
    "query_params": lambda connection, body: connection.query_params,
    "headers": lambda connection, body: dict(connection.scope["headers"]),
    "authorization": lambda connection, body: connection.headers.get("authorization"),
    "body": lambda connection, body: _json(body),
}


class Refused(TreadleError):
    """A handler of the user's own has refused a request in its own words, with a status and headers of its own."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers

    @classmethod
    def of(cls, error: Auth.exceptions.HTTPException) -> Self:
        return cls(error.status_code, error.detail, dict(error.headers or {}))


class CustomAuth:
    """Asks the user's function who sends a request.

    Raises:
        ConfigError: there is no such function, or it wants to know what no request has.
    """

    def __init__(self, auth: Auth, where: str) -> None:
        handler = cast("Callable[..., Awaitable[Any]] | None", auth._authenticate_handler)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if handler is None:
            raise ConfigError(f"{where} has no `@auth.authenticate`: nobody could be told apart. Define one.")
        self._handler = handler
        self._wanted = _wanted(handler, where)
        self.reads_body = "body" in self._wanted

    async def caller(self, connection: HTTPConnection, body: bytes) -> Caller:
        """Who it is.

        Args:
            body: of the request, where `reads_body`.

        Raises:
            Refused: the function has raised an HTTPException.
            Unauthorized: it has raised anything else, or says nobody.
        """
        given = {name: GIVEN[name](connection, body) for name in self._wanted}
        try:
            said = await self._handler(**given)
        except Auth.exceptions.HTTPException as error:
            raise Refused.of(error) from error
        except Exception as error:
            log.warning(
                "the `authenticate` of langgraph.json failed: %s", type(error).__name__, exc_info=error
            )
            raise Unauthorized("Who sends this request could not be found out.") from error
        return _caller(said)


def _wanted(handler: Callable[..., Any], where: str) -> tuple[str, ...]:
    parameters = inspect.signature(handler).parameters.values()
    named = [each for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    if unknown := [each.name for each in named if each.name not in GIVEN and each.default is each.empty]:
        raise ConfigError(
            f"{where}: its `authenticate` takes {unknown[0]!r}, which no request has. It can take: {', '.join(GIVEN)}."
        )
    return tuple(each.name for each in named if each.name in GIVEN)


def _caller(said: Any) -> Caller:
    user = _user(said)
    identity = user.get("identity")
    if not isinstance(identity, str) or not identity or user.get("is_authenticated", True) is False:
        raise Unauthorized("Who sends this request could not be found out.")
    return Caller(
        identity=identity,
        tenant=checked_tenant(str(user.get("tenant") or DEFAULT_TENANT)),
        permissions=tuple(map(str, user.get("permissions") or ())),
        more={name: value for name, value in user.items() if name not in FIXED},
    )


def _user(said: Any) -> dict[str, Any]:
    """A user's name, a mapping, or an object that has the protocol's properties."""
    if isinstance(said, str):
        return {"identity": said}
    if isinstance(said, Mapping):
        return dict(cast("Mapping[str, Any]", said))
    names = ("identity", "display_name", "is_authenticated", "permissions", "tenant")
    return {name: getattr(said, name) for name in names if hasattr(said, name)}


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        return None


def connection_of(scope: Any, receive: Any) -> HTTPConnection:
    """A request as the user's function knows it."""
    return Request(scope, receive) if scope["type"] == "http" else HTTPConnection(scope)
