"""Runs through the public Python client: created, waited for, streamed, joined, cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from langgraph_sdk.schema import Command

from tests.e2e.steps import begun, events, join, leave, new_thread, numbers, values, wait
from tests.stack import marks


async def test_wait_answers_with_the_final_values(client: LangGraphClient) -> None:
    made = await wait(client, await new_thread(client), "steps", input={"text": "hi"})
    assert made == {"text": "HI!", "steps": ["first", "second"]}


@pytest.mark.parametrize("length", [10, 40_000], ids=["told with the end", "read"])
async def test_whoever_waits_gets_what_is_kept(client: LangGraphClient, length: int) -> None:
    """Small results come with the news of the end, larger ones are read from Postgres: they are the same."""
    thread, text = await new_thread(client), 'ä"\\\n' + "x" * length
    waited = await wait(client, thread, "steps", input={"text": text})
    [run] = await client.runs.list(thread)

    assert waited == await client.runs.join(thread, run["run_id"])
    assert waited["text"] == f"{text.upper()}!"


async def test_a_stream_tells_everything_in_order(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = await events(
        client.runs.stream(thread, "steps", input={"text": "hi"}, stream_mode=["values", "updates", "custom"])
    )
    assert [event for event, _ in told] == [
        "metadata", "values", "updates", "values", "custom", "custom", "updates", "values",
    ]  # fmt: skip
    assert told[0][1]["attempt"] == 1
    assert told[-1][1] == {"text": "HI!", "steps": ["first", "second"]}


async def test_a_background_run_ends_and_its_thread_holds_the_values(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "steps", input={"text": "a"}, metadata={"team": "blue"})
    assert run["status"] == "pending"
    assert await join(client, thread, run) == {"text": "A!", "steps": ["first", "second"]}
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
    shown = await client.threads.get(thread)
    assert shown["status"] == "idle"
    assert shown["values"] == {"text": "A!", "steps": ["first", "second"]}
    assert (await client.runs.list(thread))[0]["metadata"] == {
        "team": "blue",
        "created_by": "system",
        "graph_id": "steps",
        "assistant_id": run["assistant_id"],
    }


async def test_a_graph_that_raises_ends_as_error_at_once(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = await events(client.runs.stream(thread, "failing", input={"text": "a"}))
    assert told[-1] == ("error", {"error": "ValueError", "message": "the node failed on purpose"})
    run = (await client.runs.list(thread))[0]
    assert run["status"] == "error"
    shown = cast("dict[str, Any]", await client.threads.get(thread))
    assert (shown["status"], shown["error"]["error"]) == ("error", "ValueError")
    answer = await wait(client, thread, "failing", input={"text": "a"}, raise_error=False)
    assert answer == {"__error__": {"error": "ValueError", "message": "the node failed on purpose"}}


async def test_an_interrupt_waits_for_its_answer(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stopped = await wait(client, thread, "approval", input={"text": "a"})
    assert stopped["__interrupt__"][0]["value"] == {"question": "go on?"}
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert [item["value"] for found in shown["interrupts"].values() for item in found] == [
        {"question": "go on?"}
    ]
    state = await client.threads.get_state(thread)
    assert state["next"] == ["ask"]
    resumed = await wait(client, thread, "approval", command=Command(resume="yes"))
    assert "__interrupt__" not in resumed
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_command_updates_and_goes_to_a_node(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"})
    command = Command(goto="second", update={"text": "b"})
    made = await wait(client, thread, "steps", command=command)
    assert made["text"] == "b!"


async def test_a_static_interrupt_stops_before_its_node(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"}, interrupt_before=["second"])
    assert (await client.threads.get_state(thread))["next"] == ["second"]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    made = await wait(client, thread, "steps", input=None)
    assert made["steps"] == ["first", "second"]


async def test_an_old_checkpoint_can_be_forked(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"})
    history = await client.threads.get_history(thread)
    before_second = next(state for state in history if state["next"] == ["second"])
    await client.threads.update_state(thread, {"text": "other"}, checkpoint=before_second["checkpoint"])
    made = await wait(client, thread, "steps", input=None)
    assert made["text"] == "other!"
    again = await wait(client, thread, "steps", input=None, checkpoint=before_second["checkpoint"])
    assert again["text"] == "A!"


async def test_context_and_configurable_reach_the_graph(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    made = await wait(
        client, thread, "contextual", input={"text": ""}, context={"user": "ann", "language": "de"}
    )
    assert made["text"] == "de:ann"
    made = await wait(
        client, thread, "contextual", input={"text": ""}, config={"configurable": {"user": "bob"}}
    )
    assert made["text"] == "-:bob"


async def test_subgraphs_stream_under_their_namespace(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = await events(
        client.runs.stream(
            thread, "parent", input={"text": "x"}, stream_mode="updates", stream_subgraphs=True
        )
    )
    inside = [data for event, data in told if event.startswith("updates|child:")]
    assert [next(iter(data)) for data in inside] == ["inner_a", "inner_b"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_each_durability_keeps_the_final_state(client: LangGraphClient, durability: Any) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"}, durability=durability)
    history = await client.threads.get_history(thread, limit=100)
    assert history[0]["values"] == {"text": "A!", "steps": ["first", "second"]}
    assert len(history) == (1 if durability == "exit" else 4)


async def test_a_stateless_run_leaves_no_thread(client: LangGraphClient) -> None:
    made = await wait(client, None, "steps", input={"text": "a"})
    assert made == {"text": "A!", "steps": ["first", "second"]}
    run = await client.runs.create(None, "steps", input={"text": "a"})
    await join(client, run["thread_id"], run)
    with pytest.raises(NotFoundError):
        await client.threads.get(run["thread_id"])
    told = await events(client.runs.stream(None, "steps", input={"text": "a"}, stream_mode="updates"))
    assert [event for event, _ in told] == ["metadata", "updates", "updates"]


async def test_a_stateless_run_that_is_kept_leaves_its_thread(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "steps", input={"text": "a"}, on_completion="keep")
    await join(client, run["thread_id"], run)
    assert (await client.threads.get(run["thread_id"]))["values"] == {
        "text": "A!",
        "steps": ["first", "second"],
    }


async def test_a_missing_thread_is_made_when_asked(client: LangGraphClient) -> None:
    thread = str(uuid4())
    with pytest.raises(NotFoundError):
        await client.runs.create(thread, "steps", input={"text": "a"})
    await wait(client, thread, "steps", input={"text": "a"}, if_not_exists="create")
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_cancelled_run_keeps_its_checkpoints(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"])
    await begun(stream)
    run = (await client.runs.list(thread))[0]
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert (await values(client, thread))["steps"] == ["before"]
    with pytest.raises(NotFoundError):
        await client.runs.cancel(thread, run["run_id"])


async def test_a_rolled_back_run_leaves_nothing(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "slow", input={"delay": 0})
    before = await client.threads.get_history(thread, limit=100)
    stream = client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"])
    await begun(stream)
    run = (await client.runs.list(thread))[0]
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    assert await client.threads.get_history(thread, limit=100) == before
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_pending_run_is_cancelled_without_a_worker(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    first = await client.runs.create(thread, "slow", input={"delay": 60})
    second = await client.runs.create(thread, "slow", input={"delay": 60}, multitask_strategy="enqueue")
    await client.runs.cancel(thread, second["run_id"], wait=True)
    assert (await client.runs.get(thread, second["run_id"]))["status"] == "interrupted"
    await client.runs.cancel(thread, first["run_id"], wait=True)


async def test_reject_refuses_a_second_run(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"delay": 60})
    with pytest.raises(ConflictError):
        await client.runs.create(thread, "steps", input={"text": "a"}, multitask_strategy="reject")
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread, {"steps": ["x"]})
    await client.runs.cancel(thread, run["run_id"], wait=True)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_new_run_supersedes_those_before_it(client: LangGraphClient, strategy: Any) -> None:
    thread = await new_thread(client)
    await begun(client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"]))
    running = (await client.runs.list(thread))[0]
    waiting = await client.runs.create(thread, "slow", input={"delay": 60}, multitask_strategy="enqueue")
    made = await wait(client, thread, "slow", input={"delay": 0}, multitask_strategy=strategy)
    steps = made["steps"]
    assert steps == (["before"] if strategy == "interrupt" else []) + ["before", "slept", "done"]
    for earlier in (running, waiting):
        if strategy == "interrupt":
            assert (await client.runs.get(thread, earlier["run_id"]))["status"] == "interrupted"
        else:
            with pytest.raises(NotFoundError):
                await client.runs.get(thread, earlier["run_id"])


async def test_a_delayed_run_begins_when_it_is_due(client: LangGraphClient, tmp_path: Path) -> None:
    thread, log = await new_thread(client), tmp_path / "marks"
    run = await client.runs.create(
        thread, "marked", input={"log": str(log), "label": "late"}, after_seconds=1
    )
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "pending"
    assert marks(log) == []
    await join(client, thread, run)
    assert [what for what, _, _ in marks(log)] == ["start", "end"]


async def test_a_client_that_leaves_takes_its_run_along_if_it_wished_so(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(
        thread, "slow", input={"delay": 60}, stream_mode=["custom"], on_disconnect="cancel"
    )
    await begun(stream)
    await leave(stream)
    run = (await client.runs.list(thread))[0]
    await join(client, thread, run)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"


async def test_a_run_goes_on_when_its_client_leaves(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "slow", input={"delay": 0.3}, stream_mode=["custom"])
    await begun(stream)
    await leave(stream)
    run = (await client.runs.list(thread))[0]
    await join(client, thread, run)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"


async def test_a_removed_run_is_gone_with_its_checkpoints(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    ended = await client.runs.create(thread, "steps", input={"text": "a"})
    await join(client, thread, ended)
    await client.runs.delete(thread, ended["run_id"])
    assert await client.threads.get_history(thread) == []
    await begun(client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"]))
    active = (await client.runs.list(thread))[0]
    await client.runs.delete(thread, active["run_id"])
    assert await client.runs.list(thread) == []
    with pytest.raises(NotFoundError):
        await client.runs.delete(thread, active["run_id"])


async def test_a_busy_thread_can_be_removed(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"])
    await begun(stream)
    await client.threads.delete(thread)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)
    async with asyncio.timeout(20):
        await events(stream)


async def test_a_join_waits_for_a_run_that_is_on(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"delay": 0.3})
    joined = await asyncio.gather(*(join(client, thread, run) for _ in range(5)))
    assert all(made["steps"] == ["before", "slept", "done"] for made in joined)


async def test_a_stream_that_was_cut_goes_on_after_its_last_event(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "emitting", input={"count": 50, "gap": 0.01}, stream_mode="custom")
    first = await numbers(stream, most=20)
    await leave(stream)
    run = (await client.runs.list(thread))[0]
    rest = await numbers(client.runs.join_stream(thread, run["run_id"], last_event_id=first[-1][1]))
    assert [number for number, _ in first + rest] == list(range(50))


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("assistant_id", {"input": {}}),
        ("assistant_id", {"assistant_id": "nope"}),
        ("assistant_id", {"assistant_id": 5}),
        ("stream_mode", {"assistant_id": "steps", "stream_mode": "bogus"}),
        ("multitask_strategy", {"assistant_id": "steps", "multitask_strategy": "bogus"}),
        ("config", {"assistant_id": "steps", "config": "x"}),
        ("config.recursion_limit", {"assistant_id": "steps", "config": {"recursion_limit": "x"}}),
        ("after_seconds", {"assistant_id": "steps", "after_seconds": -1}),
        ("interrupt_before", {"assistant_id": "steps", "interrupt_before": 5}),
        ("command", {"assistant_id": "steps", "command": "resume"}),
        ("context", {"assistant_id": "steps", "context": {"a": 1}, "config": {"configurable": {"b": 2}}}),
    ],
)
async def test_a_refused_run_names_the_field(
    client: LangGraphClient, field: str, body: dict[str, Any]
) -> None:
    thread = await new_thread(client)
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.http.post(f"/threads/{thread}/runs", json=body)
    assert field in str(cast("dict[str, Any]", refused.value.body)["detail"])
    assert await client.runs.list(thread) == []
