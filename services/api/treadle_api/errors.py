"""Every error as JSON with a `detail` that says what is wrong, with what, and what would be right."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import asyncpg
import psycopg
from litestar import Request, Response
from litestar.exceptions import ClientException, HTTPException, ValidationException

from treadle.checkpoint.reaching import psycopg_errors
from treadle.db.pool import postgres_errors
from treadle.errors import Overloaded, TooSlow, TreadleError, Unauthorized, Unavailable, unavailable_in
from treadle.wire.reading import problem
from treadle_api.access.custom import Refused

log = logging.getLogger(__name__)

RETRY_AFTER_SECS = str(Unavailable.retry_after_secs)
# What the framework calls the body of a request.
BODY = "data"
# Where in a body that is a list; the framework passes over it.
IN_A_LIST = re.compile(r" - at `\$\.data(\[\d+\].*)`$")

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, psycopg.Error)

AnyRequest = Request[Any, Any, Any]


def treadle_error(request: AnyRequest, error: TreadleError) -> Response[dict[str, str]]:
    """Treadle's own errors know their status."""
    headers = headers_of(error)
    # Of those that are turned away there may be many, and they are counted.
    if error.status >= 500 and not isinstance(error, Overloaded):
        log.warning("%s %s: %s", request.method, request.url.path, error)
    return _answer(error.status, str(error), headers)


def headers_of(error: TreadleError) -> dict[str, str]:
    """What an error says in headers."""
    if isinstance(error, Refused):
        return dict(error.headers)
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, TooSlow):
        return {"connection": "close"}  # what is still to come belongs to no request
    return {} if error.retry_after_secs is None else {"retry-after": str(error.retry_after_secs)}


def validation_error(request: AnyRequest, error: ValidationException) -> Response[dict[str, str]]:
    """A body or parameter of the wrong shape: each problem with the field that it is in."""
    place = IN_A_LIST.search(str(error.__cause__))
    problems = [_problem(request, item, place[1] if place else "") for item in error.extra or ()]
    return _answer(422, "; ".join(problems) or error.detail)


def _problem(request: AnyRequest, item: Any, place: str) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    given = cast("Mapping[str, Any]", item)
    key, message = str(given.get("key", "")), str(given.get("message", given))
    if key == BODY and message == repr(BODY):
        return "Invalid JSON in request body: it is empty"
    if not key:
        return message
    data = request.route_handler.parsed_data_field
    kind: Any = None if data is None else data.annotation
    return problem(kind, place if key == BODY else key, message)


def client_error(_: AnyRequest, error: ClientException) -> Response[dict[str, str]]:
    """A body that is no JSON at all; other 4xx as they are."""
    if error.status_code == 400:
        return _answer(422, f"Invalid JSON in request body: {error.__cause__ or error.detail}")
    headers = dict(error.headers or {})
    if "GET" in headers.get("allow", ""):
        headers["allow"] += ", HEAD"
    return _answer(error.status_code, error.detail, headers)


def http_error(_: AnyRequest, error: HTTPException) -> Response[dict[str, str]]:
    return _answer(error.status_code, error.detail, error.headers or {})


def unexpected(request: AnyRequest, error: Exception) -> Response[dict[str, str]]:
    """A defect of ours, unless a server is away: the log has the traceback, the client has no internals."""
    if (away := _away(error)) is not None:
        return treadle_error(request, away)
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "Internal server error; the server's log says more.")


def _away(error: Exception) -> Unavailable | None:
    """The server that is away, where nobody has said so before."""
    try:
        with postgres_errors("answering a request"), psycopg_errors("a request was answered"):
            if isinstance(error, DRIVER_ERRORS):
                raise error
    except Unavailable as away:
        return away
    except DRIVER_ERRORS:
        return None
    return unavailable_in(error)


def _answer(status: int, detail: str, headers: dict[str, str] | None = None) -> Response[dict[str, str]]:
    return Response(
        {"detail": detail}, status_code=status, headers=headers or {}, media_type="application/json"
    )


HANDLERS: dict[int | type[Exception], Callable[[AnyRequest, Any], Response[Any]]] = {
    TreadleError: treadle_error,
    ValidationException: validation_error,
    ClientException: client_error,
    HTTPException: http_error,
    Exception: unexpected,
}
