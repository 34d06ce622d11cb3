"""Every call of the crons client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.e2e.calls.runs import WEBHOOK
from tests.e2e.calls.sdk import TRANSPORT, Sdk

# Next year's Christmas, so that nothing runs while it is tested.
YEARLY = "0 12 25 12 *"


def _body(sdk: Sdk) -> dict[str, Any]:
    return {
        "schedule": YEARLY,
        "input": {"text": "a"},
        "metadata": {"mark": sdk.mark},
        "config": {"tags": ["t"]},
        "context": {"user": "Ada"},
        "interrupt_before": ["nowhere"],
        "interrupt_after": "*",
        "webhook": WEBHOOK,
        "end_time": datetime.now(UTC) + timedelta(days=800),
        "enabled": False,
        "timezone": ZoneInfo("Europe/Berlin"),
        "stream_mode": ["values"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "durability": "sync",
        **TRANSPORT,
    }


async def create(sdk: Sdk) -> None:
    made = await sdk.crons.create(
        "steps", **_body(sdk), on_run_completed="keep", multitask_strategy="enqueue"
    )
    assert made["schedule"] == YEARLY
    await sdk.crons.create("steps", schedule=YEARLY, checkpoint_during=True, timezone="UTC", enabled=False)


async def create_for_thread(sdk: Sdk) -> None:
    thread = await sdk.thread()
    made = await sdk.crons.create_for_thread(thread, "steps", **_body(sdk), multitask_strategy="enqueue")
    assert made["thread_id"] == thread
    await sdk.crons.create_for_thread(thread, "steps", schedule=YEARLY, checkpoint_during=True, enabled=False)


async def update(sdk: Sdk) -> None:
    made = await _made(sdk)
    changed = await sdk.crons.update(
        made["cron_id"], **{**_body(sdk), "schedule": "0 13 25 12 *"}, on_run_completed="delete"
    )
    assert (changed["schedule"], changed["on_run_completed"]) == ("0 13 25 12 *", "delete")
    assert (await sdk.crons.update(made["cron_id"], end_time=None))["end_time"] is None


async def delete(sdk: Sdk) -> None:
    made = await _made(sdk)
    await sdk.crons.delete(made["cron_id"], **TRANSPORT)
    assert await sdk.crons.count(metadata={"mark": sdk.mark}) == 0


async def search(sdk: Sdk) -> None:
    thread = await sdk.thread()
    for _ in range(2):
        await _made(sdk, thread)
    assistants = await sdk.assistants.search(graph_id="steps", metadata={"created_by": "system"})
    [found] = await sdk.crons.search(
        assistant_id=assistants[0]["assistant_id"],
        thread_id=thread,
        enabled=False,
        metadata={"mark": sdk.mark},
        limit=1,
        offset=1,
        sort_by="created_at",
        sort_order="asc",
        select=["cron_id", "schedule"],
        **TRANSPORT,
    )
    assert found.keys() == {"cron_id", "schedule"}


async def count(sdk: Sdk) -> None:
    thread = await sdk.thread()
    made = await _made(sdk, thread)
    counted = await sdk.crons.count(
        assistant_id=made["assistant_id"], thread_id=thread, metadata={"mark": sdk.mark}, **TRANSPORT
    )
    assert counted == 1


async def _made(sdk: Sdk, thread: str | None = None) -> Any:
    given: dict[str, Any] = {"schedule": YEARLY, "metadata": {"mark": sdk.mark}, "enabled": False}
    if thread is None:
        return await sdk.crons.create("steps", **given)
    return await sdk.crons.create_for_thread(thread, "steps", **given)
