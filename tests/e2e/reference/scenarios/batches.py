"""Several runs made with one request."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk

STEPS: dict[str, Any] = {"assistant_id": "steps", "input": {"text": "a"}}


async def all_of_them(talk: Talk) -> None:
    runs = await talk.post(
        "/runs/batch",
        [
            STEPS,
            {
                "assistant_id": "contextual",
                "input": {"text": "b"},
                "context": {"user": "ann"},
                "metadata": {"m": 1},
            },
            {
                **STEPS,
                "multitask_strategy": "reject",
                "interrupt_before": ["second"],
                "feedback_keys": ["good"],
            },
        ],
    )
    for run in runs:
        await talk.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}")


async def kept(talk: Talk) -> None:
    [run] = await talk.post("/runs/batch", [{**STEPS, "on_completion": "keep"}])
    await talk.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
    await talk.get(f"/threads/{run['thread_id']}")


async def on_a_thread(talk: Talk) -> None:
    thread = await talk.thread()
    [run] = await talk.post("/runs/batch", [{**STEPS, "thread_id": thread.removeprefix("/threads/")}])
    await talk.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}")


async def none_of_them(talk: Talk) -> None:
    await talk.post("/runs/batch", [])
    await talk.post("/runs/batch", STEPS)
    await talk.post("/runs/batch", [STEPS, 5])
    await talk.post(
        "/runs/batch", [STEPS, {"input": {}}], names="[1]: Object missing required field `assistant_id`"
    )
    await talk.post("/runs/batch", [STEPS, {**STEPS, "assistant_id": "nograph"}], names="nograph")
    await talk.post("/runs/batch", [STEPS, {**STEPS, "metadata": 5}], names="[1].metadata")
    await talk.post("/runs/batch", [STEPS, {**STEPS, "assistant_id": str(uuid4())}], names="Assistant")
    await talk.post("/runs/batch", "{bad")


async def with_values_that_are_not_allowed(talk: Talk) -> None:
    await talk.post("/runs/batch", [{**STEPS, "multitask_strategy": "bogus"}], names="[0].multitask_strategy")
    await talk.post("/runs/batch", [{**STEPS, "durability": "bogus"}], names="[0].durability")
