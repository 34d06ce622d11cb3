"""Streams that are joined: late, again, from the middle, in part."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.test_runs import begun, new_thread

MODES: Any = ["values", "updates", "custom", "messages-tuple"]


async def ended_run(client: LangGraphClient, graph: str = "steps", **body: Any) -> str:
    """The path of a run that has ended."""
    thread = await new_thread(client)
    given: dict[str, Any] = {"input": {"text": "a"}, "stream_mode": MODES, **body}
    run = cast("dict[str, str]", await client.runs.create(thread, graph, **given))
    await client.runs.join(thread, run["run_id"])
    return f"/threads/{thread}/runs/{run['run_id']}"


async def joined(url: str, run: str, query: str = "", **headers: str) -> list[tuple[str, str]]:
    """The ids and names of the events that a client gets."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        answer = await http.get(
            f"{run}/stream{query}", headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
    assert answer.status_code == 200, answer.text
    frames = [frame.split("\r\n") for frame in answer.text.split("\r\n\r\n") if frame and frame[0] != ":"]
    return [(frame[2].removeprefix("id: "), frame[0].removeprefix("event: ")) for frame in frames]


async def test_whoever_joins_without_a_last_id_gets_everything(client: LangGraphClient, api_url: str) -> None:
    run = await ended_run(client)
    everything = await joined(api_url, run)
    assert [name for _, name in everything] == [
        "metadata", "values", "updates", "values", "custom", "custom", "updates", "values",
    ]  # fmt: skip
    assert [event_id for event_id, _ in everything] == [f"1-{n}" for n in range(8)]
    for start in ("-1", "0", ""):
        assert await joined(api_url, run, last_event_id=start) == everything


async def test_a_last_id_is_gone_on_from(client: LangGraphClient, api_url: str) -> None:
    run = await ended_run(client)
    everything = await joined(api_url, run)
    for n, (event_id, _) in enumerate(everything):
        assert await joined(api_url, run, last_event_id=event_id) == everything[n + 1 :]


async def test_a_client_that_joins_may_ask_for_some_modes_only(client: LangGraphClient, api_url: str) -> None:
    run = await ended_run(client)
    for query in (
        "?stream_mode=custom",
        "?stream_mode=custom,tasks",
        "?stream_mode=custom&stream_mode=tasks",
    ):
        assert [name for _, name in await joined(api_url, run, query)] == ["metadata", "custom", "custom"]
    asked = [part.event async for part in client.runs.join_stream(*ids(run), stream_mode=["updates"])]
    assert asked == ["metadata", "updates", "updates"]


async def test_modes_hold_for_subgraphs_and_messages(client: LangGraphClient, api_url: str) -> None:
    run = await ended_run(client, "parent", stream_subgraphs=True)
    names = [name.partition("|")[0] for _, name in await joined(api_url, run, "?stream_mode=updates")]
    assert names == ["metadata"] + ["updates"] * 4
    message = {"role": "user", "content": "hi"}
    chat = await ended_run(client, "chat", input={"messages": [message]}, stream_mode=["messages", "values"])
    names = [name for _, name in await joined(api_url, chat, "?stream_mode=messages")]
    assert names == ["metadata", "messages/metadata"] + ["messages/partial"] * 5


async def test_the_error_is_told_to_everybody(client: LangGraphClient, api_url: str) -> None:
    run = await ended_run(client, "failing")
    assert [name for _, name in await joined(api_url, run, "?stream_mode=custom")] == ["metadata", "error"]


async def test_a_client_that_joined_can_take_the_run_along(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"delay": 60}, stream_mode="custom")
    stream = client.runs.join_stream(thread, run["run_id"], cancel_on_disconnect=True)
    await begun(stream)
    await cast(Any, stream).aclose()
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"


@pytest.mark.parametrize("last_event_id", ["x", "1", "-2", "1-", "1-2-3", "01-1"])
async def test_what_is_no_event_id_is_refused(
    client: LangGraphClient, api_url: str, last_event_id: str
) -> None:
    run = await ended_run(client)
    async with httpx.AsyncClient(base_url=api_url) as http:
        refused = await http.get(f"{run}/stream", headers={"last-event-id": last_event_id})
    assert refused.status_code == 422
    assert "Last-Event-ID" in refused.json()["detail"]


async def test_a_run_that_does_not_exist_cannot_be_joined(client: LangGraphClient) -> None:
    thread, missing = await new_thread(client), str(uuid4())
    with pytest.raises(httpx.HTTPStatusError, match=missing):
        await client.runs.join(thread, missing)
    with pytest.raises(httpx.HTTPStatusError, match=missing):
        await anext(aiter(client.runs.join_stream(thread, missing)))


def ids(run: str) -> tuple[str, str]:
    _, _, thread, _, run_id = run.split("/")
    return thread, run_id
