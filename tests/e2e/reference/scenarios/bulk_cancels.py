"""Several runs cancelled with one request.

Cancelling by status is left out: it reaches every run of the server, those of other scenarios too.
"""

from __future__ import annotations

from uuid import uuid4

from tests.e2e.reference.talk import Talk

SLOW = {"assistant_id": "slow", "input": {"delay": 60}, "stream_mode": ["custom", "updates"]}


def _id(path: str) -> str:
    return path.rpartition("/")[2]


async def some_of_a_thread(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        first = await talk.begun(thread, "slow", {"delay": 60})
        second = await talk.begun(thread, "slow", {"delay": 0})
        runs = [_id(slow.run), _id(first), str(uuid4())]
        await talk.post("/runs/cancel", {"thread_id": _id(thread), "run_ids": runs})
        await talk.get(first)
    await talk.ended(second)
    await talk.get(slow.run)
    await talk.get(second)
    await talk.post("/runs/cancel", {"thread_id": _id(thread), "run_ids": [*runs, _id(second)]})


async def rolled_back(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        waiting = await talk.begun(thread, "slow", {"delay": 60})
        runs = [_id(slow.run), _id(waiting)]
        await talk.post("/runs/cancel?action=rollback", {"thread_id": _id(thread), "run_ids": runs})
        await talk.get(waiting)
    await talk.ended(slow.run)
    await talk.get(slow.run)
    await talk.get(f"{thread}/runs")


async def which_of_them(talk: Talk) -> None:
    thread = _id(await talk.thread())
    run = str(uuid4())
    await talk.post("/runs/cancel", {})
    await talk.post("/runs/cancel", {"thread_id": thread}, names="run_ids")
    await talk.post("/runs/cancel", {"run_ids": [run]}, names="thread_id")
    await talk.post("/runs/cancel", {"thread_id": thread, "run_ids": []})
    await talk.post("/runs/cancel", {"thread_id": thread, "run_ids": [run]})
    await talk.post("/runs/cancel", {"thread_id": str(uuid4()), "run_ids": [run]})
    await talk.post("/runs/cancel", {"thread_id": thread, "run_ids": ["nope"]}, names="run")
    await talk.post("/runs/cancel", {"thread_id": "nope", "run_ids": [run]}, names="thread")
    await talk.post("/runs/cancel", {"status": "bogus"}, names="status")
    await talk.post("/runs/cancel", {"status": "all", "thread_id": thread, "run_ids": [run]}, names="status")
    await talk.post("/runs/cancel", {"status": "all", "thread_id": thread}, names="status")


async def by_an_unknown_action(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(thread, "steps", {"text": "a"}, after_seconds=60)
    await talk.post(
        "/runs/cancel?action=bogus", {"thread_id": _id(thread), "run_ids": [_id(run)]}, names="action"
    )
    await talk.post("/runs/cancel", {"thread_id": _id(thread), "run_ids": [_id(run)]}, kept=False)
