"""Messages in all the forms in which clients send them, and states in all the ways in which graphs declare them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any

from tests.e2e.reference.talk import Talk

FORMS: dict[str, Any] = {
    "openai": [{"role": "user", "content": "hi", "id": "h-1"}],
    "langchain": [{"type": "human", "content": "hi", "id": "h-1"}],
    "constructor": [
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain_core", "messages", "HumanMessage"],
            "kwargs": {"content": "hi", "id": "h-1", "type": "human"},
        }
    ],
    "pair": [["user", "hi"]],
    "text": ["hi"],
    "bare": "hi",
    "one": {"role": "user", "content": "hi", "id": "h-1"},
    "conversation": [
        {"role": "system", "content": "be kind", "id": "s-1"},
        {"type": "human", "content": "what is it?", "id": "h-1"},
        {
            "role": "assistant",
            "content": "",
            "id": "a-1",
            "tool_calls": [
                {"id": "c-1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
            ],
        },
        {"role": "tool", "content": "nothing", "tool_call_id": "c-1", "id": "t-1"},
        {
            "type": "ai",
            "content": [{"type": "text", "text": "nothing"}],
            "id": "a-2",
            "tool_calls": [{"id": "c-2", "name": "look", "args": {"at": 2}}],
        },
    ],
}
GRAPHS = ("talk", "raw", "checked", "held")


def _one(graph: str, form: str) -> Callable[[Talk], Awaitable[None]]:
    async def scenario(talk: Talk) -> None:
        thread = await talk.thread()
        await talk.stream(thread, graph, {"messages": FORMS[form]}, stream_mode=["values", "updates"])
        await talk.get(f"{thread}/state")

    return scenario


MADE = {f"{form} for {graph}": _one(graph, form) for form, graph in product(FORMS, GRAPHS)}


async def that_are_none(talk: Talk) -> None:
    thread = await talk.thread()
    for wrong in ([{"content": "hi"}], [{"role": "nobody", "content": "hi"}], [1], 1):
        await talk.run(thread, "talk", {"messages": wrong})
    await talk.get(thread)


async def an_input_that_pydantic_refuses(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.stream(thread, "checked", {"messages": [], "number": "many"}, stream_mode=["values"])
    await talk.get(thread)
    await talk.run(thread, "checked", {"messages": [], "number": "7"})
    await talk.run(thread, "checked", {"number": None})
    other = await talk.thread()
    await talk.run(other, "checked", {"messages": [], "number": "7"})
    await talk.run(other, "checked", {"messages": [], "number": None})
    await talk.get(f"{thread}/state")


async def inputs_that_are_no_objects(talk: Talk) -> None:
    wrong: tuple[Any, ...] = ("text", 1, [1], True, {})
    for given in wrong:
        await talk.run(await talk.thread(), "row", given)


async def images_and_files(talk: Talk) -> None:
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image", "source_type": "base64", "data": "iVBORw0KGgo=", "mime_type": "image/png"},
        {"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf", "extras": {"name": "a.pdf"}},
        {"type": "unheard_of", "deep": [{"a": [1, 2.5, None, True]}]},
    ]
    thread = await talk.thread()
    given = {"messages": [{"role": "user", "content": content, "id": "h-1"}], "blob": {"a": [content]}}
    await talk.stream(thread, "measured", given, stream_mode=["values", "custom"])
    await talk.get(f"{thread}/state")


async def odd_text(talk: Talk) -> None:
    given = {"messages": [{"role": "user", "content": 'a\u2028b\r\n\t"\\ 😀 \u00e9', "id": "h-1"}]}
    await talk.stream(await talk.thread(), "measured", given, stream_mode=["values", "custom"])


async def a_state_that_cannot_be_kept(talk: Talk) -> None:
    for what in ("lock", "lambda", "nested"):
        thread = await talk.thread()
        await talk.stream(thread, "unkept", {"what": what}, stream_mode=["updates"])
        await talk.get(thread)
        await talk.get(f"{thread}/state")


async def events_that_cannot_be_told(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.stream(thread, "untold", {"what": "lock"}, stream_mode=["custom", "updates"])
    await talk.get(thread)
