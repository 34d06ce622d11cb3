"""Every call of the runs client."""

from __future__ import annotations

from typing import Any

from tests.e2e.calls.sdk import TRANSPORT, Sdk

# Nobody is there: a name that never resolves.
WEBHOOK = "https://webhook.invalid/ended"
TRACING: dict[str, Any] = {"project_name": "none", "example_id": "none"}


def _body(sdk: Sdk) -> dict[str, Any]:
    """What each of the three ways to make a run takes, but for what excludes each other."""
    return {
        "input": {"text": "a"},
        "metadata": {"mark": sdk.mark},
        "config": {"tags": ["t"], "recursion_limit": 9},
        "context": {"user": "Ada"},
        "interrupt_before": ["nowhere"],
        "interrupt_after": ["nowhere"],
        "webhook": WEBHOOK,
        "multitask_strategy": "enqueue",
        "if_not_exists": "create",
        "langsmith_tracing": TRACING,
        "durability": "sync",
        **TRANSPORT,
    }


STREAMED: dict[str, Any] = {
    "stream_mode": ["values", "updates"],
    "stream_subgraphs": True,
    "stream_resumable": True,
}


async def create(sdk: Sdk) -> None:
    thread = await sdk.thread()
    told: Any = []
    run = await sdk.runs.create(
        thread, "steps", **_body(sdk), **STREAMED, after_seconds=0, on_run_created=told.append
    )
    assert [(each["run_id"], each["thread_id"]) for each in told] == [(run["run_id"], thread)]
    await sdk.runs.join(thread, run["run_id"])
    await _forked(sdk, sdk.runs.create)
    await sdk.runs.create(None, "steps", input={"text": "a"}, on_completion="delete")
    await _answered(sdk, sdk.runs.create)


async def wait(sdk: Sdk) -> None:
    thread = await sdk.thread()
    told: Any = []
    values = await sdk.runs.wait(
        thread, "steps", **_body(sdk), after_seconds=0, on_disconnect="cancel", on_run_created=told.append
    )
    assert (values["text"], told[0]["thread_id"]) == ("A!", thread)
    await _forked(sdk, sdk.runs.wait)
    failed = await sdk.runs.wait(None, "failing", on_completion="keep", input={}, raise_error=False)
    assert failed["__error__"]["error"] == "ValueError"
    await _answered(sdk, sdk.runs.wait)


async def stream(sdk: Sdk) -> None:
    thread = await sdk.thread()
    told: Any = []
    parts = [
        part
        async for part in sdk.runs.stream(
            thread,
            "steps",
            **_body(sdk),
            **STREAMED,
            after_seconds=0,
            on_disconnect="cancel",
            feedback_keys=["good"],
            on_run_created=told.append,
            version="v2",
        )
    ]
    assert told[0]["thread_id"] == thread
    assert {"metadata", "values", "updates"} <= {part["type"] for part in parts}
    assert next(part for part in reversed(parts) if part["type"] == "values")["data"]["text"] == "A!"

    async def streamed(*args: Any, **kwargs: Any) -> None:
        events = [part.event async for part in sdk.runs.stream(*args, **kwargs)]
        assert events[0] == "metadata"

    await _forked(sdk, streamed)
    await streamed(None, "steps", input={"text": "a"}, on_completion="delete")
    await _answered(sdk, streamed)


async def create_batch(sdk: Sdk) -> None:
    thread = await sdk.thread()
    payloads: Any = [
        {"assistant_id": "steps", "thread_id": thread, "input": {"text": "a"}},
        {"assistant_id": "steps", "input": {"text": "b"}},
    ]
    made = await sdk.runs.create_batch(payloads, **TRANSPORT)
    assert len({run["run_id"] for run in made}) == 2
    assert (await sdk.runs.join(thread, made[0]["run_id"]))["text"] == "A!"


async def list(sdk: Sdk) -> None:  # noqa: A001 - as the client has it
    thread = await sdk.ran()
    await sdk.runs.wait(thread, "steps", input={"text": "b"})
    [older] = await sdk.runs.list(
        thread, limit=1, offset=1, status="success", select=["run_id", "status"], **TRANSPORT
    )
    assert older.keys() == {"run_id", "status"}


async def get(sdk: Sdk) -> None:
    thread, run = await _started(sdk, "steps")
    assert (await sdk.runs.get(thread, run, **TRANSPORT))["run_id"] == run


async def join(sdk: Sdk) -> None:
    thread, run = await _started(sdk, "steps")
    assert (await sdk.runs.join(thread, run, **TRANSPORT))["text"] == "A!"


async def join_stream(sdk: Sdk) -> None:
    thread, run = await _started(sdk, "steps", stream_mode=["values", "custom"])
    parts = [
        part
        async for part in sdk.runs.join_stream(
            thread,
            run,
            cancel_on_disconnect=True,
            stream_mode=["values"],
            last_event_id="-1",
            **TRANSPORT,
        )
    ]
    assert {part.event for part in parts} == {"metadata", "values"}


async def cancel(sdk: Sdk) -> None:
    thread, run = await _started(sdk, "slow", input={"delay": 60})
    await sdk.runs.cancel(thread, run, wait=True, action="interrupt", **TRANSPORT)
    assert (await sdk.runs.get(thread, run))["status"] == "interrupted"


async def cancel_many(sdk: Sdk) -> None:
    thread, run = await _started(sdk, "slow", input={"delay": 60})
    await sdk.runs.cancel_many(thread_id=thread, run_ids=[run], action="interrupt", **TRANSPORT)
    await sdk.runs.join(thread, run)
    assert (await sdk.runs.get(thread, run))["status"] == "interrupted"
    thread, later = await _started(sdk, "steps", after_seconds=3600)
    await sdk.runs.cancel_many(status="pending")
    assert (await sdk.runs.get(thread, later))["status"] == "interrupted"


async def delete(sdk: Sdk) -> None:
    thread, run = await _started(sdk, "steps")
    await sdk.runs.join(thread, run)
    await sdk.runs.delete(thread, run, **TRANSPORT)
    assert await sdk.runs.list(thread) == []


async def _started(sdk: Sdk, graph: str, **body: Any) -> tuple[str, str]:
    thread = await sdk.thread()
    run = await sdk.runs.create(thread, graph, **{"input": {"text": "a"}, **body})
    return thread, run["run_id"]


async def _forked(sdk: Sdk, begin: Any) -> None:
    """Runs that start in a thread's past."""
    thread = await sdk.ran()
    history = await sdk.threads.get_history(thread)
    past = next(state["checkpoint"] for state in history if state["next"] == ["second"])
    await begin(thread, "steps", checkpoint=past)
    await begin(thread, "steps", checkpoint_id=past["checkpoint_id"], checkpoint_during=True)
    runs = await sdk.runs.list(thread)
    await sdk.runs.join(thread, runs[0]["run_id"])
    assert (await sdk.threads.get_state(thread))["values"]["text"] == "A!"


async def _answered(sdk: Sdk, begin: Any) -> None:
    """A run that answers a question."""
    thread = await sdk.ran("approval")
    await begin(thread, "approval", command={"resume": "yes"}, strict_resume=True)
    [answer, _] = await sdk.runs.list(thread)
    assert (await sdk.runs.join(thread, answer["run_id"]))["text"] == "a:yes"
