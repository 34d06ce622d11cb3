"""Runs that are stopped from outside."""

from __future__ import annotations

from uuid import uuid4

from tests.e2e.reference.talk import Talk

SLOW = {"assistant_id": "slow", "input": {"delay": 60}, "stream_mode": ["custom", "updates"]}


async def interrupted(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        await talk.post(f"{slow.run}/cancel?wait=true&action=interrupt")
    await talk.get(slow.run)
    await talk.get(f"{slow.run}/join")
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    await talk.post(f"{slow.run}/cancel")


async def interrupted_without_waiting(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        await talk.post(f"{slow.run}/cancel")
    await talk.ended(slow.run)
    await talk.get(slow.run)
    await talk.run(thread, "slow", {"delay": 0})


async def rolled_back(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        await talk.post(f"{slow.run}/cancel?wait=true&action=rollback")
    await talk.get(slow.run)
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    await talk.post(f"{thread}/history", {"limit": 10})


async def rolled_back_after_an_earlier_run(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "slow", {"delay": 0})
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        await talk.post(f"{slow.run}/cancel?wait=true&action=rollback")
    await talk.get(f"{thread}/state")
    await talk.get(f"{thread}/runs")


async def before_it_began(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        waiting = await talk.begun(thread, "slow", {"delay": 0})
        await talk.post(f"{waiting}/cancel?wait=true")
        await talk.get(waiting)
        await talk.get(f"{waiting}/join")
        gone = await talk.begun(thread, "slow", {"delay": 0})
        await talk.post(f"{gone}/cancel?action=rollback")
        await talk.get(gone)
        await talk.get(thread)
        await talk.post(f"{slow.run}/cancel?wait=true")


async def too_late_or_unknown(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(thread, "steps", {"text": "a"})
    await talk.ended(run)
    await talk.post(f"{run}/cancel")
    await talk.post(f"{run}/cancel?wait=true&action=rollback")
    await talk.post(f"{thread}/runs/{uuid4()}/cancel")
    await talk.post(f"/threads/{uuid4()}/runs/{uuid4()}/cancel")
    await talk.post(f"{run}/cancel?action=bogus", names="action")
    await talk.post(f"{thread}/runs/nope/cancel", names="run")


async def with_a_waiter(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        async with talk.following(f"{slow.run}/stream", method="GET") as joined:
            await talk.post(f"{slow.run}/cancel")
        del joined


async def the_thread_is_removed(talk: Talk) -> None:
    thread = await talk.thread()
    run = await talk.begun(thread, "slow", {"delay": 60})
    await talk.call("DELETE", thread)
    await talk.get(thread)
    await talk.get(run)
