"""Threads: copied, pruned, measured."""

from __future__ import annotations

from uuid import uuid4

from tests.e2e.reference.talk import Talk


async def empty(talk: Talk) -> None:
    made = await talk.post("/threads", {"metadata": {"a": 1}})
    copy = await talk.post(f"/threads/{made['thread_id']}/copy")
    await talk.get(f"/threads/{copy['thread_id']}/state")
    await talk.post(f"/threads/{copy['thread_id']}/history", {"limit": 10})


async def with_its_history(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "parent", {"text": "a"})
    copy = await talk.post(f"{thread}/copy")
    copied = f"/threads/{copy['thread_id']}"
    await talk.get(f"{copied}/state")
    await talk.post(f"{copied}/history", {"limit": 100})
    await talk.get(f"{copied}/runs")
    await talk.run(copied, "parent", {"text": "b"})


async def with_a_question(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "approval", {"text": "a"})
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    copy = await talk.post(f"{thread}/copy")
    await talk.get(f"/threads/{copy['thread_id']}/state")
    await talk.run(f"/threads/{copy['thread_id']}", "approval", command={"resume": "yes"})
    await talk.get(f"{thread}/state")


async def that_cannot_be(talk: Talk) -> None:
    await talk.post(f"/threads/{uuid4()}/copy")
    await talk.post("/threads/nope/copy", names="thread ID")


async def pruned_away(talk: Talk) -> None:
    threads = [(await talk.thread()).removeprefix("/threads/") for _ in range(2)]
    await talk.run(f"/threads/{threads[0]}", "steps", {"text": "a"})
    await talk.post("/threads/prune", {"thread_ids": [*threads, threads[0], str(uuid4())]})
    await talk.get(f"/threads/{threads[0]}")
    await talk.get(f"/threads/{threads[1]}")
    await talk.post("/threads/prune", {"thread_ids": threads})
    await talk.post("/threads/prune", {"thread_ids": []})


async def pruned_while_busy(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.begun(thread, "slow", {"delay": 5})
    await talk.post("/threads/prune", {"thread_ids": [thread.removeprefix("/threads/")]})
    await talk.get(thread)


async def pruned_to_the_latest(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"})
    body = {"thread_ids": [thread.removeprefix("/threads/")], "strategy": "keep_latest"}
    await talk.post("/threads/prune", body)
    await talk.get(f"{thread}/state")


async def pruning_refused(talk: Talk) -> None:
    await talk.post("/threads/prune", {}, names="thread_ids")
    await talk.post("/threads/prune", {"thread_ids": ["one"]}, names="thread ID")
    await talk.post("/threads/prune", {"thread_ids": str(uuid4())}, names="thread_ids")
    await talk.post("/threads/prune", {"thread_ids": [], "strategy": "forget"}, names="strategy")


async def measured(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.get(f"{thread}/storage")
    await talk.run(thread, "steps", {"text": "a"})
    await talk.get(f"{thread}/storage")
    await talk.get(f"/threads/{uuid4()}/storage")
    await talk.get("/threads/nope/storage", names="thread ID")
