"""Handlers are provided for in turn: the framework would make tasks of its own for each request."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Litestar, get
from litestar.di import NamedDependency, Provide

from treadle_api.providing import given, in_turn


@get("/", sync_to_thread=False)
def answer(one: NamedDependency[str], two: NamedDependency[str], both: NamedDependency[str]) -> str:
    return f"{one} {two} {both}"


async def together(one: NamedDependency[str], two: NamedDependency[str]) -> str:
    """In a task of the request's own, and no other."""
    current = asyncio.current_task()
    return f"{one} and {two} in {current.get_name() if current else None}"


async def asked(app: Litestar) -> bytes:
    scope: Any = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("here", 1), "client": ("there", 1), "root_path": "",
    }  # fmt: skip
    body = b""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")

    await app(scope, receive, send)
    return body


async def test_all_is_provided_in_the_task_of_the_request_and_after_what_it_needs() -> None:
    provided = {"one": given("1"), "two": given("2"), "both": Provide(together)}
    app = in_turn(Litestar([answer], dependencies=provided, openapi_config=None))
    tasks: set[str] = set()

    def made(loop: asyncio.AbstractEventLoop, coroutine: Any, **given: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **given)
        tasks.add(task.get_name())
        return task

    asyncio.get_running_loop().set_task_factory(made)
    try:
        name = (current := asyncio.current_task()) and current.get_name()
        assert await asked(app) == f"1 2 1 and 2 in {name}".encode()
    finally:
        asyncio.get_running_loop().set_task_factory(None)
    assert tasks == set()
