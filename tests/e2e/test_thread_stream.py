"""The stream of a thread: all its runs, one after the other, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart

from tests.e2e.steps import begun, leave, new_thread, wait
from tests.stack import Service, running_stack

SECS = 20.0


async def until_done(stream: AsyncIterator[StreamPart], runs: int) -> list[StreamPart]:
    """The parts of a thread's stream until so many runs have ended."""
    parts: list[StreamPart] = []
    async with asyncio.timeout(SECS):
        async for part in stream:
            parts.append(part)
            runs -= cast(Any, part.data).get("status") == "run_done" if part.event == "metadata" else 0
            if runs == 0:
                break
    await leave(stream)
    return parts


def names(parts: list[StreamPart]) -> list[str]:
    return ["run_done" if "status" in (part.data or {}) else part.event for part in parts]


async def start(client: LangGraphClient, thread: str, graph: str, **given: Any) -> str:
    run = await client.runs.create(thread, graph, input=given, stream_mode="custom")
    return run["run_id"]


async def join(client: LangGraphClient, thread: str, **given: Any) -> AsyncIterator[StreamPart]:
    async for part in await client.threads.join_stream(thread, **given):
        yield part


async def test_a_thread_tells_of_all_its_runs_in_order(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    ran = [await start(client, thread, "emitting", count=20, gap=0.02)]
    stream = join(client, thread)
    parts = [await anext(stream)]
    for _ in range(2):
        await wait(client, thread, "steps", input={"text": "a"})
    ran += [run["run_id"] for run in reversed(await client.runs.list(thread))][1:]
    parts += await until_done(stream, 3)
    steps = ["metadata", "values", "values", "values", "run_done"]
    assert names(parts) == ["metadata", *["custom"] * 20, "run_done", *steps, *steps]
    assert [cast(Any, part.data)["run_id"] for part in parts if part.event == "metadata"] == [
        run for run in ran for _ in range(2)
    ]
    ids = [int(part.id or "") for part in parts]
    assert ids == sorted(set(ids))


async def test_who_joins_late_gets_the_run_that_is_on_and_none_before(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"})
    run = await start(client, thread, "emitting", count=20, gap=0.02)
    await begun(client.runs.join_stream(thread, run))
    parts = await until_done(join(client, thread), 1)
    assert [cast(Any, part.data)["n"] for part in parts if part.event == "custom"] == list(range(20))
    assert cast(Any, parts[0].data)["run_id"] == run


@pytest.mark.parametrize("start", ["-", "-1", "0"])
async def test_all_that_is_kept_is_there_to_be_read(client: LangGraphClient, start: str) -> None:
    thread = await new_thread(client)
    for graph in ("steps", "failing"):
        await wait(client, thread, graph, input={"text": "a"}, raise_error=False)
    parts = await until_done(join(client, thread, last_event_id=start), 2)
    assert names(parts)[:5] == ["metadata", "values", "values", "values", "run_done"]
    assert names(parts)[-2:] == ["error", "run_done"]


async def test_it_goes_on_after_any_event(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for _ in range(2):
        await wait(client, thread, "steps", input={"text": "a"})
    everything = await until_done(join(client, thread, last_event_id="-"), 2)
    for n, part in enumerate(everything[:-1]):
        done = 2 if n < 4 else 1
        assert await until_done(join(client, thread, last_event_id=part.id), done) == everything[n + 1 :]


async def test_a_stream_that_is_cut_off_again_and_again_loses_nothing(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for _ in range(2):
        await start(client, thread, "emitting", count=100, gap=0.002)
    told: list[StreamPart] = []
    async with asyncio.timeout(SECS):
        while names(told).count("run_done") < 2:
            stream = join(client, thread, last_event_id=told[-1].id if told else "-")
            async for part in stream:
                told.append(part)
                if len(told) % 7 == 0 or names(told).count("run_done") == 2:
                    break
            await leave(stream)
    assert [cast(Any, part.data)["n"] for part in told if part.event == "custom"] == [
        *range(100),
        *range(100),
    ]


async def test_lifecycle_tells_only_of_beginnings_and_ends(client: LangGraphClient, api_url: str) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"})
    parts = await until_done(join(client, thread, last_event_id="-", stream_mode="lifecycle"), 1)
    assert names(parts) == ["metadata", "run_done"]
    async with httpx.AsyncClient(base_url=api_url) as http:
        documented = {"stream_modes": ["lifecycle", "state_update"]}
        async with http.stream(
            "GET", f"/threads/{thread}/stream", params=documented, headers={"last-event-id": "-"}
        ) as answer:
            lines = answer.aiter_lines()
            seen = [await anext(lines) for _ in range(8)]
    assert [line for line in seen if line.startswith("event")] == ["event: metadata"] * 2


async def test_who_follows_a_thread_hears_that_its_state_was_changed(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "steps", input={"text": "a"})
    stream = join(client, thread, last_event_id="-", stream_mode=["lifecycle", "state_update"])
    async with asyncio.timeout(SECS):
        parts = [await anext(stream), await anext(stream)]
        updated = cast(Any, await client.threads.update_state(thread, {"text": "b"}))
        parts.append(await anext(stream))
    await leave(stream)
    assert names(parts) == ["metadata", "run_done", "state_update"]
    state = cast(Any, parts[2].data)["state"]
    assert (state["values"]["text"], state["checkpoint_id"]) == ("b", updated["checkpoint_id"])


async def test_a_run_that_is_rolled_back_ends_too(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await start(client, thread, "emitting", count=500, gap=0.02)
    stream = join(client, thread)
    await anext(stream)
    following = asyncio.create_task(until_done(stream, 2))
    await client.runs.cancel(thread, run, wait=True, action="rollback")
    await wait(client, thread, "steps", input={"text": "a"})
    assert names(await following)[-5:] == ["metadata", "values", "values", "values", "run_done"]


async def test_two_api_processes_tell_the_same(client: LangGraphClient, other_api: Service) -> None:
    thread = await new_thread(client)
    following = [
        asyncio.create_task(until_done(join(one, thread, last_event_id="-"), 4))
        for one in (client, other_api.client, other_api.client)
    ]
    for one in (client, other_api.client) * 2:
        await start(one, thread, "emitting", count=20, gap=0.001)
    first, *others = [await task for task in following]
    assert all(each == first for each in others)
    assert names(first).count("custom") == 80


async def test_what_cannot_be_followed_is_refused(client: LangGraphClient, api_url: str) -> None:
    thread = await new_thread(client)
    async with httpx.AsyncClient(base_url=api_url) as http:
        for path, headers, status, said in (
            (thread, {"last-event-id": "nonsense"}, 422, "Last-Event-ID"),
            (f"{thread}?stream_mode=nope", {}, 422, "stream_mode"),
            ("nope", {}, 422, "Invalid thread ID"),
            ("11111111-1111-4111-8111-111111111111", {}, 404, "not found"),
        ):
            name, _, query = path.partition("?")
            answer = await http.get(f"/threads/{name}/stream?{query}", headers=headers)
            assert (answer.status_code, said in answer.json()["detail"]) == (status, True)


async def test_followers_learn_of_runs_while_redis_is_away() -> None:
    """What Redis may have of them is waited for: for all of them together, not for one after the other."""
    async with running_stack("worker") as stack:
        client = (await stack.api(TREADLE_SSE_HEARTBEAT_SECS="1")).client
        thread = await new_thread(client)
        await start(client, thread, "emitting", count=20, gap=0.02)
        stream = join(client, thread, stream_mode="lifecycle")
        await anext(stream)
        following = asyncio.create_task(until_done(stream, 4))
        await stack.servers.valkey.stop()
        runs = [await client.runs.create(thread, "failing", input={"text": "a"}) for _ in range(3)]
        done = [cast(Any, part.data) for part in await following]
        assert done[-3:] == [{"status": "run_done", "run_id": run["run_id"]} for run in runs]
