"""Every call of the threads client."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any
from uuid import uuid4

from tests.e2e.calls.sdk import TRANSPORT, Sdk

Update = dict[str, Any]


async def create(sdk: Sdk) -> None:
    wanted = str(uuid4())
    supersteps: list[Any] = [
        {"updates": [{"values": {"text": "a"}, "as_node": "__input__"}]},
        {"updates": [{"values": {"text": "b", "steps": ["first"]}, "as_node": "first"}]},
    ]
    made = await sdk.threads.create(
        metadata={"mark": sdk.mark},
        thread_id=wanted,
        supersteps=supersteps,
        graph_id="steps",
        ttl={"strategy": "delete", "ttl": 60},
        **TRANSPORT,
    )
    assert (made["thread_id"], made["metadata"]["graph_id"]) == (wanted, "steps")
    assert (await sdk.threads.get_state(wanted))["next"] == ["second"]
    again = await sdk.threads.create(thread_id=wanted, if_exists="do_nothing", ttl=5)
    assert again["thread_id"] == wanted


async def get(sdk: Sdk) -> None:
    thread = await sdk.thread(ttl=60)
    found = await sdk.threads.get(thread, include=["ttl"], **TRANSPORT)
    assert found["thread_id"] == thread
    assert found["ttl"]["ttl_minutes"] == 60


async def update(sdk: Sdk) -> None:
    thread = await sdk.thread()
    changed = await sdk.threads.update(thread, metadata={"more": 1}, ttl=90, **TRANSPORT)
    assert changed["metadata"] == {"mark": sdk.mark, "more": 1}
    assert await sdk.threads.update(thread, metadata={"more": 2}, return_minimal=True) is None


async def delete(sdk: Sdk) -> None:
    thread = await sdk.thread()
    await sdk.threads.delete(thread, **TRANSPORT)
    assert await sdk.threads.search(ids=[thread]) == []


async def search(sdk: Sdk) -> None:
    threads = [await sdk.ran() for _ in range(3)]
    mine: dict[str, Any] = {"metadata": {"mark": sdk.mark}, "values": {"text": "A!"}, "status": "idle"}
    found = await sdk.threads.search(
        **mine,
        ids=threads,
        limit=2,
        offset=1,
        sort_by="created_at",
        sort_order="asc",
        select=["thread_id", "metadata"],
        extract={"said": "values.text"},
        **TRANSPORT,
    )
    assert [(each["thread_id"], each["extracted"]["said"]) for each in found] == [
        (thread, "A!") for thread in threads[1:]
    ]
    assert "status" not in found[0]


async def count(sdk: Sdk) -> None:
    await sdk.ran()
    mine: dict[str, Any] = {"metadata": {"mark": sdk.mark}, "values": {"text": "A!"}, "status": "idle"}
    assert await sdk.threads.count(**mine, **TRANSPORT) == 1


async def copy(sdk: Sdk) -> None:
    thread = await sdk.ran()
    copied = await sdk.threads.copy(thread, **TRANSPORT)
    assert copied["thread_id"] != thread
    assert (await sdk.threads.get_state(copied["thread_id"]))["values"]["text"] == "A!"


async def prune(sdk: Sdk) -> None:
    kept, gone = await sdk.ran(), await sdk.ran()
    assert (await sdk.threads.prune([kept], strategy="keep_latest", **TRANSPORT))["pruned_count"] == 1
    assert len(await sdk.threads.get_history(kept)) == 1
    assert (await sdk.threads.prune([gone]))["pruned_count"] == 1
    assert await sdk.threads.search(ids=[gone, kept], select=["thread_id"]) == [{"thread_id": kept}]


async def get_state(sdk: Sdk) -> None:
    thread = await sdk.ran("nested")
    state = await sdk.threads.get_state(thread, subgraphs=True, **TRANSPORT)
    assert state["tasks"][0]["state"]["values"]["text"] == "a"
    by_checkpoint = await sdk.threads.get_state(thread, state["checkpoint"])
    by_id = await sdk.threads.get_state(thread, checkpoint_id=state["checkpoint"]["checkpoint_id"])
    assert by_checkpoint["values"] == by_id["values"] == state["values"]
    inner = state["tasks"][0]["state"]["checkpoint"]
    assert (await sdk.threads.get_state(thread, checkpoint=inner))["next"] == ["ask"]
    assert (await sdk.threads.get_state(thread, select=["values"])).keys() == {"values"}


async def update_state(sdk: Sdk) -> None:
    thread = await sdk.ran()
    history = await sdk.threads.get_history(thread)
    past = history[1]["checkpoint"]
    made = await sdk.threads.update_state(
        thread, {"text": "b"}, as_node="first", checkpoint=past, **TRANSPORT
    )
    assert (await sdk.threads.get_state(thread, made["checkpoint"]))["next"] == ["second"]
    await sdk.threads.update_state(thread, {"text": "c"}, checkpoint_id=past["checkpoint_id"])
    assert (await sdk.threads.get_state(thread))["values"]["text"] == "c"
    await sdk.threads.update_state(thread, None)


async def get_history(sdk: Sdk) -> None:
    thread = await sdk.ran()
    states = await sdk.threads.get_history(thread, limit=10, **TRANSPORT)
    newest = states[0]["checkpoint"]
    ids = [state["checkpoint"]["checkpoint_id"] for state in states]
    for before in (ids[0], newest):
        earlier = await sdk.threads.get_history(thread, limit=2, before=before)
        assert [state["checkpoint"]["checkpoint_id"] for state in earlier] == ids[1:3]
    assert await sdk.threads.get_history(thread, checkpoint=states[1]["checkpoint"]) == states[1:2]
    [first] = await sdk.threads.get_history(thread, metadata={"step": -1}, select=["next"])
    assert first == {"next": ["__start__"]}


async def join_stream(sdk: Sdk) -> None:
    thread = await sdk.thread()
    stream = sdk.threads.join_stream(
        thread, stream_mode=["run_modes", "lifecycle", "state_update"], last_event_id="-", **TRANSPORT
    )
    await sdk.runs.create(thread, "steps", input={"text": "a"}, stream_mode=["values"])
    async with aclosing(stream):
        async for part in stream:
            if part.event == "values" and part.data.get("text") == "A!":
                return
    raise AssertionError("the stream ended without the run's values")


async def stream(sdk: Sdk) -> None:
    thread = sdk.threads.target.stream(
        assistant_id="steps",
        thread_id=str(uuid4()),
        headers=TRANSPORT["headers"],
        run_start_timeout=20,
        transport="sse",
    )
    sdk.threads.given["stream"] |= {
        "assistant_id", "thread_id", "headers", "run_start_timeout", "transport",
    }  # fmt: skip
    if sdk.kind == "async":
        async with thread:
            await thread.run.start(input={"text": "a"})
            assert (await thread.output)["text"] == "A!"
    else:
        _streamed(thread)


def _streamed(thread: Any) -> None:
    with thread:
        thread.run.start(input={"text": "a"})
        assert thread.output["text"] == "A!"
