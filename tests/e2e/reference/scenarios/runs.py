"""Runs: made, listed, waited for, joined, stateless."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.e2e.reference.talk import Talk


async def in_the_background(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(
        thread,
        "steps",
        {"text": "a"},
        metadata={"m": 1},
        config={"tags": ["t"], "configurable": {"c": 1}, "metadata": {"cm": 2}, "recursion_limit": 9},
        stream_mode=["values", "custom"],
        interrupt_before=["nonode"],
        stream_subgraphs=True,
        stream_resumable=True,
        durability="sync",
    )
    await talk.get(f"{run}/join")
    await talk.get(run)
    await talk.get(f"{thread}/runs")


async def as_they_are_stored(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.begun(thread, "steps", {"text": "a"})
    await talk.begun(thread, "contextual", {"text": "a"}, context={"user": "ann"})
    await talk.begun(thread, "approval", command={"resume": "x", "goto": "after", "update": {"text": "b"}})
    await talk.begun(thread, "steps", checkpoint={"checkpoint_id": str(uuid4())}, if_not_exists="create")
    await talk.ended(await talk.begun(thread, "steps", {"text": "a"}, checkpoint_during=False))


async def listed(talk: Talk) -> None:
    thread = await talk.thread()
    for text in ("a", "b", "c"):
        await talk.run(thread, "steps", {"text": text})
    await talk.get(f"{thread}/runs")
    await talk.get(f"{thread}/runs?limit=1&offset=1")
    await talk.get(f"{thread}/runs?status=success&limit=2")
    await talk.get(f"{thread}/runs?status=error")
    await talk.get(f"{await talk.thread()}/runs")
    await talk.get(f"/threads/{uuid4()}/runs")
    await talk.get(f"{thread}/runs?status=bogus", names="status")
    await talk.get(f"{thread}/runs?limit=x", names="limit")


async def listed_in_part(talk: Talk) -> None:
    thread = await talk.thread()
    for number in (1, 2):
        await talk.run(thread, "steps", {"text": "a"}, metadata={"n": number})
    await talk.get(f"{thread}/runs?select=run_id&select=status")
    await talk.get(f"{thread}/runs?select=metadata&limit=1")
    await talk.get(f"{thread}/runs?limit=0")
    await talk.get(f"{thread}/runs?limit=5000&select=status")
    await talk.get(f"{thread}/runs?offset=9")
    await talk.get(f"{thread}/runs?select=bogus", names="select")


async def listed_with_negative_numbers(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.get(f"{thread}/runs?limit=-1", names="limit")
    await talk.get(f"{thread}/runs?offset=-1", names="offset")


async def with_all_that_the_client_can_send(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.begun(thread, "steps", {"text": "a"}, feedback_keys=["good", "bad"])
    await talk.begun(
        thread, "steps", {"text": "a"}, langsmith_tracer={"project_name": "p"}, strict_resume=False
    )
    await talk.begun(thread, "steps", {"text": "a"}, checkpoint_during=True, on_disconnect="continue")
    await talk.begun(thread, "steps", {"text": "a"}, checkpoint_during=False, durability="sync")
    await talk.begun(thread, "steps", {"text": "a"}, on_completion="keep", stream_resumable=True)
    last = await talk.begun(thread, "steps", {"text": "a"}, after_seconds=0.1, if_not_exists="create")
    await talk.ended(last)


async def joined_late(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(thread, "failing", {"text": "a"})
    await talk.ended(run)
    await talk.get(f"{run}/join")
    other = await talk.thread()
    asked = await talk.begun(other, "approval", {"text": "a"})
    await talk.ended(asked)
    await talk.get(f"{asked}/join")
    await talk.get(asked)


async def joined_on_the_way(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(
        f"{thread}/runs/stream",
        {"assistant_id": "slow", "input": {"delay": 1}, "stream_mode": ["custom", "updates"]},
    ) as first:
        await first.until("custom")
        await talk.get(first.run)
        await talk.get(thread)
        await asyncio.gather(talk.get(f"{first.run}/join"), talk.get(f"{first.run}/join"))
    await talk.get(first.run)


async def on_a_thread_to_be_made(talk: Talk) -> None:
    thread = f"/threads/{uuid4()}"
    await talk.run(thread, "steps", {"text": "a"})
    await talk.run(thread, "steps", {"text": "a"}, if_not_exists="create")
    await talk.get(thread)


async def stateless(talk: Talk) -> None:
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    await talk.post("/runs/wait", body)
    run = await talk.post("/runs", body)
    await talk.post("/runs/wait", {**body, "assistant_id": "failing"})
    await talk.post("/runs/wait", {**body, "assistant_id": "approval"})
    await talk.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}")


async def stateless_and_streamed(talk: Talk) -> None:
    await talk.post(
        "/runs/stream", {"assistant_id": "steps", "input": {"text": "a"}, "stream_mode": "updates"}
    )


async def stateless_and_kept(talk: Talk) -> None:
    body = {"assistant_id": "steps", "input": {"text": "a"}, "on_completion": "keep"}
    run = await talk.post("/runs", body)
    await talk.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}")
    await talk.get(f"/threads/{run['thread_id']}")


async def removed(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(thread, "steps", {"text": "a"})
    await talk.ended(run)
    await talk.call("DELETE", run)
    await talk.get(run)
    await talk.call("DELETE", run)
    await talk.get(f"{thread}/runs")


async def delayed(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(thread, "steps", {"text": "a"}, after_seconds=60)
    await talk.get(run)
    await talk.get(thread)
    await talk.post(f"{run}/cancel")
