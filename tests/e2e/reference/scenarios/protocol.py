"""The event streaming protocol: commands, and the events of a thread on the channels that both servers fill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Event, Talk

CHANNELS = ["values", "messages", "lifecycle", "input"]
ENDS = ("completed", "failed", "interrupted")
INPUTS: dict[str, Any] = {
    "steps": {"text": "hi"},
    "parent": {"text": "x"},
    "chat": {"messages": [{"role": "user", "content": "hi", "id": "h-1"}]},
    "failing": {"text": "x"},
    "approval": {"text": "x"},
    "nested": {"text": "x"},
}

NO_COMMANDS: list[Any] = [
    {},
    {"id": 1},
    {"method": "run.start"},
    {"id": "x", "method": "run.start", "params": {}},
    [],
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("nope", {}),
    ("run.start", {}),
    ("run.start", {"assistant_id": "nope"}),
    ("run.start", {"assistant_id": 5}),
    ("input.respond", {}),
    ("input.respond", {"responses": []}),
    ("input.respond", {"interrupt_id": "x", "response": 1}),
    ("agent.getTree", {}),
    ("subscription.unsubscribe", {"subscription_id": "x"}),
    ("state.get", {"namespace": []}),
    ("input.inject", {}),
]
NO_FILTERS: list[Any] = [{}, {"channels": []}, {"channels": ["nope"]}, {"channels": "values"}, []]


async def _command(talk: Talk, thread: str, method: str, **params: Any) -> Any:
    return await talk.post(f"{thread}/commands", {"id": 1, "method": method, "params": params})


def ended(event: Event) -> bool:
    """Whether it is the end of a run."""
    name, told = event
    params = told["params"]
    return name == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS


async def _followed(talk: Talk, thread: str, **wanted: Any) -> list[Event]:
    """A thread's events from the first that is kept, to the end of a run and a little further."""
    return await talk.first(f"{thread}/stream/events", {"channels": CHANNELS, **wanted}, ended)


def _run(graph: str) -> Callable[[Talk], Awaitable[None]]:
    async def scenario(talk: Talk) -> None:
        thread = await talk.thread()
        await _command(talk, thread, "run.start", assistant_id=graph, input=INPUTS[graph])
        await _followed(talk, thread)

    return scenario


MADE = {f"a run of {graph}": _run(graph) for graph in INPUTS}


async def an_answer(talk: Talk) -> None:
    thread = await talk.thread()
    await _command(talk, thread, "run.start", assistant_id="approval", input=INPUTS["approval"])
    asked = await _followed(talk, thread, channels=["input", "lifecycle"])
    questions = [told["params"]["data"] for name, told in asked if name == "input.requested"]
    await talk.rested(thread)
    answer: dict[str, Any] = {
        "namespace": [],
        "interrupt_id": questions[0]["interrupt_id"],
        "response": "yes",
    }
    await _command(talk, thread, "input.respond", **answer)
    await talk.rested(thread)
    await talk.get(f"{thread}/state")
    await _command(talk, thread, "input.respond", **answer)


async def namespaces(talk: Talk) -> None:
    thread = await talk.thread()
    await _command(talk, thread, "run.start", assistant_id="parent", input=INPUTS["parent"])
    await talk.rested(thread)
    await _followed(talk, thread, namespaces=[[]], depth=0)
    await talk.first(
        f"{thread}/stream/events",
        {"channels": ["values"], "namespaces": [["child"]]},
        lambda event: "inner_b" in event[1]["params"]["data"]["steps"],
    )


async def refused_commands(talk: Talk) -> None:
    thread = f"/threads/{uuid4()}"
    for body in NO_COMMANDS:
        await talk.post(f"{thread}/commands", body)
    await talk.post(f"{thread}/commands", "{nope")
    for method, params in REFUSED:
        await _command(talk, thread, method, **params)


async def refused_filters(talk: Talk) -> None:
    thread = f"/threads/{uuid4()}"
    for body in NO_FILTERS:
        await talk.post(f"{thread}/stream/events", body)


async def a_thread_joined(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", INPUTS["steps"], stream_resumable=True)
    await talk.run(thread, "steps", INPUTS["steps"], stream_resumable=True)

    def done(event: Event) -> bool:
        return event[0] == "metadata" and "status" in event[1]

    for query in ("", "?stream_modes=lifecycle"):
        await talk.first(f"{thread}/stream{query}", None, done, method="GET", headers={"last-event-id": "-"})
    await talk.get(f"{thread}/stream", headers={"last-event-id": "nonsense"})
    await talk.get(f"{thread}/stream?stream_modes=nope")
    await talk.get("/threads/nope/stream")
