"""Crons: made, found, changed, removed. None of them is due while the conversation lasts."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk
from treadle.model import default_assistant_id

NOON = {"assistant_id": "steps", "schedule": "0 12 29 2 *"}
END = "2099-01-01T00:00:00+00:00"


async def made(talk: Talk) -> None:
    cron = await talk.post("/runs/crons", {**NOON, "input": {"text": "a"}})
    await talk.get(f"/runs/crons/{cron['cron_id']}")
    bodies: list[dict[str, Any]] = [
        {"timezone": "America/New_York", "end_time": END, "enabled": False},
        {"on_run_completed": "keep", "metadata": {"m": 1}, "context": {"a": 1}},
        {"config": {"tags": ["t"], "configurable": {"c": 1}}, "multitask_strategy": "reject"},
        {"interrupt_before": ["first"], "interrupt_after": "*", "durability": "sync"},
        {"stream_mode": ["values", "updates"], "stream_subgraphs": True, "stream_resumable": True},
    ]
    for body in bodies:
        await talk.post("/runs/crons", {**NOON, **body})
    for schedule in ("@yearly", "0 12 29 2 * 30", "0 12 29 feb mon-fri", "0 12 L 2 *"):
        await talk.post("/runs/crons", {**NOON, "schedule": schedule, "enabled": False})


async def made_on_a_thread(talk: Talk) -> None:
    thread = await talk.thread()
    cron = await talk.post(f"{thread}/runs/crons", {**NOON, "multitask_strategy": "interrupt"})
    await talk.post("/runs/crons/search", {"thread_id": thread.rpartition("/")[2]})
    await talk.call("DELETE", thread)
    await talk.get(f"/runs/crons/{cron['cron_id']}")
    await talk.post(f"{thread}/runs/crons", NOON)
    await talk.post("/threads/nope/runs/crons", NOON)


async def refused(talk: Talk) -> None:
    for schedule in ("bogus", "", "61 * * * *", "* * * *", "@reboot", "0 0 30 2 *"):
        await talk.post("/runs/crons", {**NOON, "schedule": schedule}, names="schedule")
    wrong: dict[str, Any] = {
        "schedule": 5, "timezone": "bogus", "on_run_completed": "x", "enabled": "x", "config": 5, "context": 5,
        "stream_mode": "bogus", "interrupt_before": 5, "durability": "x", "metadata": 5,
    }  # fmt: skip
    for name, value in wrong.items():
        await talk.post("/runs/crons", {**NOON, name: value}, names=name)
    thread = await talk.thread()
    await talk.post(f"{thread}/runs/crons", {**NOON, "multitask_strategy": "x"}, names="multitask_strategy")
    await talk.post("/runs/crons", {**NOON, "assistant_id": "nograph"}, names="nograph")
    await talk.post("/runs/crons", {**NOON, "assistant_id": str(uuid4())})
    await talk.post("/runs/crons", "{bad")


async def taken_by_the_reference_server(talk: Talk) -> None:
    past = "2001-01-01T00:00:00+00:00"
    await talk.post("/runs/crons", {**NOON, "end_time": past}, names="end_time")
    await talk.post("/runs/crons", {**NOON, "end_time": "bogus"}, names="end_time")
    await talk.post("/runs/crons", {**NOON, "multitask_strategy": "x"}, names="multitask_strategy")
    both = {"context": {"a": 1}, "config": {"configurable": {"b": 1}}}
    await talk.post("/runs/crons", {**NOON, **both}, names="context")
    on_a_thread = await talk.post(f"{await talk.thread()}/runs/crons", NOON)
    changes = {"on_run_completed": "keep", "end_time": past}
    for name, value in changes.items():
        await talk.call("PATCH", f"/runs/crons/{on_a_thread['cron_id']}", {name: value}, names=name)


async def unknown(talk: Talk) -> None:
    for path in (f"/runs/crons/{uuid4()}", "/runs/crons/nope"):
        await talk.get(path)
        await talk.call("PATCH", path, {"enabled": False})
        await talk.call("DELETE", path)


async def changed(talk: Talk) -> None:
    made = await talk.post("/runs/crons", {**NOON, "input": {"text": "a"}, "metadata": {"k": 1}})
    cron = f"/runs/crons/{made['cron_id']}"
    changes: list[dict[str, Any]] = [
        {"schedule": "30 1 29 2 *"},
        {"timezone": "Europe/Berlin"},
        {"enabled": False},
        {"enabled": True},
        {"end_time": END},
        {"end_time": None},
        {"on_run_completed": "keep"},
        {"input": {"text": "b"}, "durability": "exit"},
        {"metadata": {"l": 2}},
        {"config": {"tags": ["x"]}},
        {"context": {"z": 1}},
        {"stream_mode": "updates", "interrupt_after": ["first"]},
    ]
    for change in changes:
        await talk.call("PATCH", cron, change)
    await talk.get(cron)
    await talk.call("PATCH", cron, {})
    for name, value in {"schedule": "bogus", "timezone": "bogus", "on_run_completed": "x"}.items():
        await talk.call("PATCH", cron, {name: value}, names=name)


async def found(talk: Talk) -> None:
    mark = {"mark": str(uuid4())}
    for number in range(4):
        graph = "chat" if number == 3 else "steps"
        body = {"assistant_id": graph, "schedule": f"{number} 12 29 2 *", "enabled": number != 2}
        await talk.post("/runs/crons", {**body, "metadata": {**mark, "n": number}})
    chat = str(default_assistant_id("chat"))
    searches: list[dict[str, Any]] = [
        {"limit": 3},
        {"limit": 3, "offset": 3},
        {"enabled": False},
        {"enabled": True},
        {"assistant_id": chat},
        {"assistant_id": str(uuid4())},
        {"metadata": {**mark, "n": 1}},
        {"sort_by": "next_run_date"},
        {"sort_by": "next_run_date", "sort_order": "asc"},
        {"sort_order": "asc"},
    ]
    for search in searches:
        await talk.post("/runs/crons/search", {"metadata": mark, "select": ["schedule", "enabled"], **search})
    await talk.post("/runs/crons/search", {"metadata": mark})
    for count in ({}, {"assistant_id": chat}, {"metadata": {**mark, "n": 1}}, {"thread_id": str(uuid4())}):
        await talk.post("/runs/crons/count", {"metadata": mark, **count})
    wrong: dict[str, Any] = {
        "limit": 1001, "offset": -1, "sort_by": "bogus", "sort_order": "ASC", "select": ["bogus"], "enabled": "x",
        "assistant_id": "chat", "thread_id": "nope",
    }  # fmt: skip
    for name, value in wrong.items():
        await talk.post("/runs/crons/search", {name: value})
    await talk.post("/runs/crons/count", {"assistant_id": "chat"})


async def removed(talk: Talk) -> None:
    made = await talk.post("/runs/crons", NOON)
    cron = f"/runs/crons/{made['cron_id']}"
    await talk.call("DELETE", cron)
    await talk.call("DELETE", cron)
    await talk.get(cron)


async def removed_with_its_assistant(talk: Talk) -> None:
    assistant = (await talk.post("/assistants", {"graph_id": "steps"}))["assistant_id"]
    cron = await talk.post("/runs/crons", {**NOON, "assistant_id": assistant})
    await talk.call("DELETE", f"/assistants/{assistant}")
    await talk.get(f"/runs/crons/{cron['cron_id']}")
