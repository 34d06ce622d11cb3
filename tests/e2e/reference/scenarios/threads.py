"""Threads: made, found, changed, removed."""

from __future__ import annotations

from uuid import uuid4

from tests.e2e.reference.talk import Talk


async def made_and_removed(talk: Talk) -> None:
    made = await talk.post("/threads")
    thread = f"/threads/{made['thread_id']}"
    await talk.get(thread)
    await talk.call("DELETE", thread)
    await talk.get(thread)
    await talk.call("DELETE", thread)


async def of_the_clients_own_id(talk: Talk) -> None:
    mine = str(uuid4())
    await talk.post("/threads", {"thread_id": mine, "metadata": {"a": 1}})
    await talk.post("/threads", {"thread_id": mine})
    await talk.post("/threads", {"thread_id": mine, "if_exists": "raise"})
    await talk.post("/threads", {"thread_id": mine, "if_exists": "do_nothing", "metadata": {"b": 2}})


async def metadata(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.call("PATCH", thread, {"metadata": {"a": 1, "b": {"c": 2}}})
    await talk.call("PATCH", thread, {"metadata": {"b": {"d": 3}}})
    await talk.call("PATCH", thread, {})
    await talk.call("PATCH", thread, {"metadata": {"e": 1}}, headers={"Prefer": "return=minimal"})
    await talk.get(thread)
    await talk.call("PATCH", f"/threads/{uuid4()}", {"metadata": {}})


async def after_a_run(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(
        thread, "steps", {"text": "a"}, config={"tags": ["x"], "recursion_limit": 10}, metadata={"mine": 1}
    )
    await talk.get(thread)


async def after_a_failure(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "failing", {"text": "a"})
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    await talk.get(f"{thread}/runs")
    await talk.run(thread, "steps", {"text": "a"})
    await talk.get(thread)


async def with_two_graphs(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"})
    await talk.run(thread, "routing", {"text": "b"})
    await talk.get(thread)
