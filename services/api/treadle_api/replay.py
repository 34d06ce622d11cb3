"""A request's body, once more: for an application that wants to read it by itself."""

from __future__ import annotations

from litestar.types import HTTPReceiveMessage, Receive


class Replay:
    """An ASGI `receive` that begins with a body that has been read already."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> HTTPReceiveMessage:
        if (body := self._body) is not None:
            self._body = None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()  # pyright: ignore[reportReturnType] - of an HTTP scope
