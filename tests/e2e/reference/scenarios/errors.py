"""Requests that are refused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk

STEPS = {"assistant_id": "steps", "input": {"text": "a"}}
WRONG: dict[str, Any] = {
    "stream_mode": "bogus",
    "config": "x",
    "metadata": 5,
    "multitask_strategy": "bogus",
    "interrupt_before": 5,
    "after_seconds": "x",
    "durability": "x",
    "if_not_exists": "x",
    "stream_subgraphs": "yes",
    "command": "resume",
    "checkpoint": "x",
    "context": 5,
    "interrupt_after": 5,
    "webhook": 5,
    "feedback_keys": ["a", 5],
    "checkpoint_during": "x",
    "stream_resumable": "x",
}


async def fields_of_a_run(talk: Talk) -> None:
    runs = f"{await talk.thread()}/runs"
    for name, value in WRONG.items():
        await talk.post(runs, {**STEPS, name: value}, names=name)
    await talk.post(runs, {**STEPS, "stream_mode": ["values", "bogus"]}, names="stream_mode")
    await talk.post(runs, {**STEPS, "config": {"recursion_limit": "x"}}, names="recursion_limit")
    await talk.post(runs, {**STEPS, "config": {"configurable": 5}}, names="configurable")


async def fields_that_the_reference_server_takes(talk: Talk) -> None:
    runs = f"{await talk.thread()}/runs"
    for name, value in {"on_disconnect": "x", "on_completion": "x", "after_seconds": -1}.items():
        await talk.post(runs, {**STEPS, name: value}, names=name)


async def webhooks_that_must_not_be_called(talk: Talk) -> None:
    runs = f"{await talk.thread()}/runs"
    for url in (
        "",
        "http://",
        "nowhere",
        "/ok",
        "//example.com/x",
        "ftp://example.com/x",
        "http://localhost:8000/x",
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://0.0.0.0/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/x",
        "http://198.51.100.1/x",
    ):
        await talk.post(runs, {**STEPS, "webhook": url}, names="webhook")
    await talk.post(runs, {**STEPS, "webhook": "http://example.com:99999/x"}, names="webhook")


async def webhooks_to_private_addresses(talk: Talk) -> None:
    runs = f"{await talk.thread()}/runs"
    for url in ("http://10.1.1.1/x", "http://192.168.1.1/x", "http://[fd00::2]/x"):
        await talk.post(runs, {**STEPS, "webhook": url, "after_seconds": 600}, names="webhook")


async def the_assistant_of_a_run(talk: Talk) -> None:
    runs = f"{await talk.thread()}/runs"
    for way in ("", "/wait", "/stream"):
        await talk.post(runs + way, {"input": {}}, names="assistant_id")
        await talk.post(runs + way, {**STEPS, "assistant_id": "nograph"}, names="nograph")
        await talk.post(runs + way, {**STEPS, "assistant_id": str(uuid4())}, names="Assistant")
        await talk.post(f"/runs{way}", {**STEPS, "assistant_id": "nograph"}, names="nograph")
    await talk.post(runs, {**STEPS, "assistant_id": 5}, names="assistant_id")


async def bodies(talk: Talk) -> None:
    runs = f"{await talk.thread()}/runs"
    for body in ("{bad", "", '"x"', "[]", "5"):
        await talk.post(runs, body)
        await talk.post("/threads", body)


async def ids(talk: Talk) -> None:
    for path in ("/threads/nope", "/threads/nope/state", "/threads/nope/history", "/threads/nope/runs"):
        await talk.get(path, names="thread")
    thread = await talk.thread()
    for path in ("", "/join", "/stream"):
        await talk.get(f"{thread}/runs/nope{path}", names="run")
        await talk.get(f"{thread}/runs/{uuid4()}{path}")
    await talk.post(f"/threads/{uuid4()}/runs", STEPS)
    await talk.post("/threads", {"thread_id": "nope"}, names="thread")
    await talk.post("/threads", {"if_exists": "bogus"}, names="if_exists")
    await talk.post("/threads", {"metadata": 5}, names="metadata")
    await talk.post("/threads/nope/runs", STEPS, names="thread")


async def paths_and_methods(talk: Talk) -> None:
    await talk.get("/nothing/here")
    await talk.call("PUT", "/threads", {})
    await talk.call("PUT", await talk.thread(), {})
    await talk.call("DELETE", "/ok")


async def assistants(talk: Talk) -> None:
    await talk.post("/assistants/search", {"graph_id": "steps", "metadata": {"created_by": "system"}})
    await talk.post("/assistants/search", {"graph_id": "nograph"})
    await talk.post("/assistants/search", {"limit": 0}, names="limit")
    await talk.post("/assistants/search", {"graph_id": 5}, names="graph_id")
    await talk.get("/assistants/01d10e59-d4b4-51ec-8e94-9b2716b34de8")
    await talk.get("/assistants/steps", names="assistant")
    await talk.get(f"/assistants/{uuid4()}")


async def unknown_fields_are_passed_over(talk: Talk) -> None:
    await talk.run(await talk.thread(), "steps", {"text": "a"}, unknown_field=1)
