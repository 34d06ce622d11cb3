"""Kinds of graphs: functional, fanned out, routed by commands, with a context."""

from __future__ import annotations

from typing import Any

from tests.e2e.reference.talk import Talk


async def functional(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "functional", 3)
    await talk.stream(thread, "functional", 4, stream_mode=["values", "updates"])
    await talk.get(f"{thread}/state")
    await talk.get(thread)


async def fanout(talk: Talk) -> None:
    await talk.stream(
        await talk.thread(), "fanout", {"numbers": [1, 2, 3]}, stream_mode=["values", "updates"]
    )


async def routing(talk: Talk) -> None:
    await talk.stream(await talk.thread(), "routing", {"text": "odd"}, stream_mode=["values", "updates"])
    await talk.run(await talk.thread(), "routing", {"text": "even"})


async def commands(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"})
    await talk.run(thread, "steps", command={"goto": "second"})
    await talk.run(thread, "steps", command={"update": {"text": "new"}})
    await talk.run(thread, "steps", command={"update": [["text", "pairs"]], "goto": ["second"]})
    await talk.get(f"{thread}/state")


async def a_command_that_sends(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"})
    send: dict[str, Any] = {"node": "second", "input": {"text": "sent", "steps": []}}
    await talk.run(thread, "steps", command={"goto": send})
    await talk.run(thread, "steps", command={"goto": "nonode"})
    await talk.get(f"{thread}/state")


async def context(talk: Talk) -> None:
    given = {"text": ""}
    await talk.run(await talk.thread(), "contextual", given, context={"user": "ann", "language": "de"})
    await talk.run(await talk.thread(), "contextual", given, config={"configurable": {"user": "bob"}})
    await talk.run(
        await talk.thread(),
        "contextual",
        given,
        config={"configurable": {"user": "bob"}},
        context={"user": "ann"},
    )


async def what_a_node_sees(talk: Talk) -> None:
    await talk.run(
        await talk.thread(),
        "seen",
        {},
        metadata={"m": 1},
        config={
            "tags": ["a"],
            "metadata": {"cm": 2},
            "configurable": {"x": {"y": 1}, "z": 2},
            "recursion_limit": 7,
        },
    )


async def the_recursion_limit(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"}, config={"recursion_limit": 1})
    await talk.get(thread)


async def inputs_that_do_not_fit(talk: Talk) -> None:
    for given in ("text", [1], {"nokey": 1}, None, 5):
        await talk.run(await talk.thread(), "steps", given)
    await talk.run(await talk.thread(), "chat", {"messages": [{"role": "bogus", "content": "x"}]})
    await talk.run(await talk.thread(), "steps", {"text": "a"}, interrupt_before=["nonode"])
