"""What a new run does to those that its thread still has."""

from __future__ import annotations

from tests.e2e.reference.talk import Talk

SLOW = {"assistant_id": "slow", "input": {"delay": 60}, "stream_mode": ["custom", "updates"]}


async def reject(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        for way in ("", "/wait", "/stream"):
            await talk.post(
                f"{thread}/runs{way}",
                {"assistant_id": "slow", "input": {"delay": 0}, "multitask_strategy": "reject"},
            )
        await talk.post(f"{thread}/state", {"values": {"steps": ["x"]}})
        await talk.post(f"{slow.run}/cancel?wait=true")


async def enqueue(talk: Talk) -> None:
    thread = await talk.thread()
    short = {**SLOW, "input": {"delay": 0.3}}
    async with talk.following(f"{thread}/runs/stream", short) as first:
        await first.until("custom")
        await talk.run(thread, "slow", {"delay": 0}, multitask_strategy="enqueue")
    await talk.get(f"{thread}/runs")
    await talk.get(thread)


async def interrupt(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        await talk.run(thread, "slow", {"delay": 0}, multitask_strategy="interrupt")
    await talk.get(f"{thread}/runs")
    await talk.get(thread)
    await talk.post(f"{thread}/history", {"limit": 10})


async def rollback(talk: Talk) -> None:
    thread = await talk.thread()
    async with talk.following(f"{thread}/runs/stream", SLOW) as slow:
        await slow.until("custom")
        await talk.run(thread, "slow", {"delay": 0}, multitask_strategy="rollback")
    await talk.get(slow.run)
    await talk.get(f"{thread}/runs")
    await talk.get(thread)
    await talk.post(f"{thread}/history", {"limit": 10})


async def on_a_thread_at_rest(talk: Talk) -> None:
    for strategy in ("reject", "enqueue", "interrupt", "rollback"):
        await talk.run(await talk.thread(), "steps", {"text": "a"}, multitask_strategy=strategy)


async def behind_a_question(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.begun(thread, "approval", {"text": "a"}, multitask_strategy="enqueue")
    await talk.run(thread, "approval", command={"resume": "yes"}, multitask_strategy="enqueue")
    await talk.get(thread)


async def on_a_thread_that_asks(talk: Talk) -> None:
    for strategy in ("reject", "enqueue", "interrupt", "rollback"):
        thread = await talk.thread()
        await talk.run(thread, "approval", {"text": "a"})
        await talk.run(thread, "approval", command={"resume": strategy}, multitask_strategy=strategy)
        await talk.get(thread)
