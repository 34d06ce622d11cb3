"""/openapi.json: the routes as they are, with the errors as they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from litestar import MediaType, Request
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema, Server
from litestar.openapi.spec.enums import OpenAPIType
from msgspec import UNSET, Struct, UnsetType

from treadle_api.access.gate import PUBLIC
from treadle_api.shell.described import add, described

# What answers that stay open consist of; the framework cannot see it.
VALUES = ResponseSpec(
    dict[str, Any],
    description="The values that the run left; `__interrupt__` where it stopped to ask, `__error__` where it failed.",
    generate_examples=False,
)


class SentEvent(Struct):
    """One server-sent event; its data is JSON."""

    event: str
    data: str
    id: str | UnsetType = UNSET


EVENTS = ResponseSpec(
    SentEvent,
    description="Server-sent events until the run ends, each with its id.",
    media_type="text/event-stream",
    generate_examples=False,
)


@dataclass
class JsonRpc(Operation):
    """A message whose body is passed on unread, so that the framework does not see it."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.OBJECT, description="A JSON-RPC 2.0 message of the protocol.")
        self.request_body = RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)})


# Parameters that the routes take as text, to say in their own words what is wrong with one.
UUIDS = frozenset({"assistant_id", "thread_id", "run_id", "cron_id"})

PROBLEMS = {
    "404": "What the path or the body names does not exist.",
    "409": "The present state of the thing that the path names does not allow it.",
    "413": "The body is larger than TREADLE_HTTP_MAX_BODY_BYTES.",
    "422": "A field or parameter cannot be used; the detail names it.",
    "429": "As many runs wait as may, or this client has as many answers open as it may. Try again after `Retry-After` seconds.",
    "503": "A server that this needs cannot be reached now, or this one has too much to do. Try again after `Retry-After` seconds.",
}


# Where whoever asks has to prove who it is.
REFUSALS = {
    "401": "The request does not prove who sends it.",
    "403": "Whoever sends it may not do this.",
}
MAKING_RUNS = ("/runs", "/runs/wait", "/runs/stream", "/runs/batch", "/commands", "/trigger")
# What answers with 429, by its method: what makes runs, and what stays open.
MAY_BE_TOO_MANY = {
    "post": (*MAKING_RUNS, "/stream/events", "/{run_id}/cancel", "/mcp", "/a2a/{assistant_id}"),
    "get": ("/stream", "/join"),
}


class WithProblems(JsonRenderPlugin):
    """The framework's own errors are replaced by ours; what the user's app says of itself is added.

    Args:
        mine: the user's app, if there is one.
        security: how whoever asks proves who it is, `securitySchemes` and `security`; None: nobody has to.
    """

    def __init__(self, mine: Any | None, security: dict[str, Any] | None) -> None:
        super().__init__(path="/", media_type=MediaType.JSON)
        self._mine = mine
        self._security = security

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        openapi_schema["components"]["schemas"]["Problem"] = {
            "type": "object",
            "properties": {"detail": {"type": "string"}},
            "required": ["detail"],
        }
        for path, methods in openapi_schema["paths"].items():
            for method, operation in methods.items():
                if "extra" in str(operation["responses"].get("400")):
                    del operation["responses"]["400"]
                operation["responses"].update(_problems(path, method, operation))
                if self._security is not None:
                    _guard(path, operation)
                for parameter in operation.get("parameters", ()):
                    if parameter["name"] in UUIDS and parameter["in"] == "path":
                        parameter["schema"]["format"] = "uuid"
        if self._security is not None:
            openapi_schema["components"]["securitySchemes"] = self._security["securitySchemes"]
            openapi_schema["security"] = self._security["security"]
        if (theirs := described(self._mine)) is not None:
            add(openapi_schema, theirs)
        return super().render(request, openapi_schema)


def _guard(path: str, operation: dict[str, Any]) -> None:
    if path in PUBLIC:
        operation["security"] = []
    else:
        operation["responses"] |= {status: _problem(text) for status, text in REFUSALS.items()}


def _problem(text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content}


def _problems(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    possible = {
        "404": "{" in path or "requestBody" in operation,
        "409": "requestBody" in operation or path.endswith("/trigger"),
        "422": "requestBody" in operation or "parameters" in operation,
        "413": "requestBody" in operation,
        "429": path.endswith(MAY_BE_TOO_MANY.get(method, ())),
        "503": path not in ("/info", "/metrics"),
    }
    return {
        status: _problem(text)
        for status, text in PROBLEMS.items()
        if possible[status] and status not in operation["responses"]
    }


def openapi(mine: Any | None, prefix: str, security: dict[str, Any] | None) -> OpenAPIConfig:
    """How /openapi.json is made.

    Args:
        mine: the user's own app, which is described as well.
        prefix: that all paths lie under.
        security: as `WithProblems` has it.
    """
    return OpenAPIConfig(
        title="Treadle",
        version=version("treadle"),
        description="LangGraph graphs behind an API, every run a durable command.",
        path="/openapi.json",
        servers=[Server(url=prefix or "/")],
        render_plugins=[WithProblems(mine, security)],
    )
