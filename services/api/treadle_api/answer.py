"""JSON answers, made without what the framework's own pay for features that are not used here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from treadle import json

T = TypeVar("T")

JSON = b"application/json"
PLAIN = (Struct, dict, list)


class Answer(Response[T]):
    """What a route returns, as JSON; anything but objects and lists is left to the framework."""

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **given: Any) -> Any:
        media = self.media_type or given.get("media_type")
        if not isinstance(self.content, PLAIN) or media not in (None, "application/json"):
            return super().to_asgi_response(app, request, **given)
        return _sent(self.status_code or given["status_code"], self.headers, json.encode(self.content))


def _sent(status: int, headers: Mapping[str, str], body: bytes) -> ASGIApp:
    raw = [*_raw(headers.items()), (b"content-type", JSON), (b"content-length", b"%d" % len(body))]

    async def send_all(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return send_all


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
