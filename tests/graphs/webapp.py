"""An app of a user's own: routes beside the server's and over them, a lifespan, a middleware around everything."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def closed() -> None:
    """Tell the test."""
    Path(os.environ["WEBAPP_LOG"]).write_text("closed", encoding="utf-8")


class Mark:
    """Middleware that puts a header on each answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-mark", b"yes")]
            await send(message)

        await self._app(scope, receive, marked)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, str]]:
    app.state.opened = "in the lifespan"
    yield {"left": "for requests"}
    closed()


app = FastAPI(lifespan=lifespan, middleware=[Middleware(Mark)])


class Item(BaseModel):
    name: str


# The name that the server has for something of its own.
class Problem(BaseModel):
    what: str


@app.get("/hello")
async def hello(request: Request) -> dict[str, Any]:
    root = request.scope.get("root_path", "")
    return {"opened": request.app.state.opened, "left": request.state.left, "root": root}


@app.post("/items")
async def items(item: Item) -> Problem:
    return Problem(what=item.name)


@app.post("/assistants/search")
async def search() -> list[str]:
    """In place of the server's."""
    return ["mine"]


@app.delete("/threads")
async def clear() -> str:
    return "cleared"


@app.get("/ok")
async def ok() -> str:
    return "not what a probe should see"


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("the app crashed on purpose")


@app.get("/counted")
async def counted() -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return StreamingResponse(numbers(), headers={"content-location": "/mine/1"})


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


@asynccontextmanager
async def no_start(_: Starlette) -> AsyncGenerator[None]:
    raise ValueError("no database, on purpose")
    yield


broken = Starlette(lifespan=no_start)


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """An app without a framework, and without a lifespan."""
    assert scope["type"] == "http"
    await PlainTextResponse(f"plain {scope['path']}")(scope, receive, send)


async def root(request: Request) -> PlainTextResponse:
    return PlainTextResponse("mine")


starlette = Starlette(routes=[Route("/", root), Route("/info", root), Route("/ok", root)])
