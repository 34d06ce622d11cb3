"""Answers that may take as long as a run does, from an application that sends nothing before it has them."""

from __future__ import annotations

import asyncio

from litestar.types import ASGIApp, HTTPSendMessage, Message, Receive, Scope, Send

from treadle_api.responses import JSON, STILL_WAITING


async def answered_in_time(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, heartbeat_secs: float
) -> None:
    """Pass an application's answer on, with signs of life before it once it lets wait.

    Whatever is wrong with a request is said at once, so one that takes longer is answered with 200 and JSON.
    """
    messages: list[Message] = []
    task = asyncio.create_task(_run(app, scope, receive, _collect(messages)), name="answer")
    waiting = False
    try:
        while not (await asyncio.wait({task}, timeout=heartbeat_secs))[0]:
            if not waiting:
                await send(START)
            waiting = True
            await send({"type": "http.response.body", "body": STILL_WAITING, "more_body": True})
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for message in messages:
        if not (waiting and message["type"] == "http.response.start"):
            await send(message)


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


START: HTTPSendMessage = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name.encode(), value.encode()) for name, value in JSON.items()],
}


def _collect(messages: list[Message]) -> Send:
    async def collect(message: Message) -> None:
        messages.append(message)

    return collect
