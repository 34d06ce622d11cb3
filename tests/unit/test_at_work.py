"""The bound on requests in work, and what gives a place back."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from litestar import Litestar, post

from treadle.telemetry.metrics import Metrics
from treadle_api.at_work import AtWork
from treadle_api.errors import HANDLERS
from treadle_api.server import listen

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"


@post("/work")
async def take(data: dict[str, Any]) -> dict[str, Any]:
    return data


async def answer(port: int, request: bytes) -> bytes:
    """All that comes back for a request until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def test_a_body_that_does_not_come_gives_its_place_back() -> None:
    """Otherwise clients that vanish in the middle of a request end the service for everybody, one by one."""
    at_work = AtWork(1, Metrics(), body_secs=0.5)
    app = Litestar([take], middleware=[at_work], exception_handlers=HANDLERS, openapi_config=None)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    port, head = listener.getsockname()[1], HEAD.replace(b"POST / ", b"POST /work ")
    try:
        late = await answer(port, head + b"{")
        assert late.startswith(b"HTTP/1.1 408 ")
        assert b"send it again" in late
        whole = head.replace(b"host: a", b"host: a\r\nconnection: close") + b"{}"
        assert (await answer(port, whole)).startswith(b"HTTP/1.1 201 ")
    finally:
        server.should_exit = True
        await serving
