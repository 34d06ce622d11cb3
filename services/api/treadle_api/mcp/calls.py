"""Calling a tool is a run: stateless, durable, and followed to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from treadle import json
from treadle.errors import TreadleError
from treadle.model import Assistant
from treadle.operations.ids import new_id
from treadle.streaming import Event
from treadle.wire.runs import NewRun, StreamMode
from treadle_api.access.access import Access
from treadle_api.mcp.tools import Tools
from treadle_api.operations.following import Followed, Following

# Told of each step: how many there were, and what it was.
Progress = Callable[[int, str], Awaitable[None]]
PROGRESS_MODES: list[StreamMode] = ["updates", "custom"]


class Calls:
    """Calls tools."""

    def __init__(self, tools: Tools, following: Following) -> None:
        self._tools = tools
        self._following = following

    async def call(
        self, access: Access, assistant: Assistant, arguments: dict[str, Any], progress: Progress | None
    ) -> dict[str, Any]:
        """Run the assistant with a call's arguments; the result as the protocol has it.

        Whatever goes wrong is a result too (`isError`), so that the model that called can read it.
        """
        try:
            body = NewRun(
                assistant_id=str(assistant.assistant_id),
                input=await self._tools.input(access, assistant, arguments),
                stream_mode="values" if progress is None else PROGRESS_MODES,
            )
            async with self._following.begin(access, new_id(), body, stateless=True) as run:
                if progress is not None:
                    await _tell(run, progress)
                return _result(await run.result())
        except TreadleError as error:
            return _failure(type(error).__name__, str(error))


async def _tell(run: Followed, progress: Progress) -> None:
    steps = 0
    async for event in run.events():
        for message in _messages(event):
            steps += 1
            await progress(steps, message)


def _messages(event: Event) -> list[str]:
    """What is worth telling: the nodes that have ended, and what the graph itself reports."""
    if event.event == "custom":
        value = json.decode(event.data)
        return [value if isinstance(value, str) else event.data.decode()]
    if event.event == "updates":
        return list(cast("dict[str, Any]", json.decode(event.data)))
    return []


def _result(values: Any) -> dict[str, Any]:
    if isinstance(values, dict) and "__error__" in values:
        error = cast("dict[str, Any]", values)["__error__"]
        return _failure(error["error"], error["message"])
    result: dict[str, Any] = {"content": [_text(json.text(values))]}
    return {**result, "structuredContent": values} if isinstance(values, dict) else result


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"isError": True, "content": [_text(f"{kind}: {message}")]}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
