"""What clients send as messages and content reaches the graph and comes back as it was."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from typing import Any, cast

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

from tests.e2e.steps import events, new_thread, values, wait

MEGABYTE = 1024 * 1024


def digest(value: Any) -> str:
    """As the graph `measured` makes them."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def image(size: int) -> list[Any]:
    """The content of a message with an image of so many bytes."""
    data = base64.b64encode(random.Random(size).randbytes(size)).decode()
    return [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]


async def test_a_state_that_cannot_be_kept_names_its_channel_and_the_way_out(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    failed = await wait(client, thread, "unkept", input={"what": "nested"}, raise_error=False)
    message = failed["__error__"]["message"]
    assert "channel 'handle' holds a dict" in message
    assert "_thread.lock" in message
    assert "UntrackedValue" in message
    found = await client.threads.get(thread)
    assert (found["status"], cast(Any, found)["values"]["steps"]) == ("error", ["plain"])
    assert (await wait(client, thread, "unkept", input={"what": "text"}))["handle"] == "text"


async def test_an_untracked_value_need_not_be_kept(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    assert (await wait(client, thread, "untracked", input={"steps": []}))["steps"] == ["hold", "use"]
    assert (await values(client, thread))["steps"] == ["hold", "use"]


async def test_a_thread_whose_model_refuses_its_state_is_read_and_mended(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    wrong = await wait(
        client, thread, "checked", input={"messages": ["a"], "number": "many"}, raise_error=False
    )
    assert wrong["__error__"]["error"] == "ValidationError"
    assert (await values(client, thread))["number"] == "many"
    history = cast(Any, await client.threads.get_history(thread))
    assert history[0]["values"]["number"] == "many"
    [run] = await client.runs.list(thread)
    await client.runs.delete(thread, run["run_id"])
    mended = await wait(client, thread, "checked", input={"messages": ["b"], "number": "7"})
    assert mended["seen"] == ["HumanMessage: b", "number: 7"]


async def test_an_update_that_the_state_does_not_take_is_refused(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "talk", input={"messages": ["a"]})
    before = await values(client, thread)
    with pytest.raises(UnprocessableEntityError, match=r"values: .*Unsupported message type"):
        await client.threads.update_state(thread, {"messages": 1})
    assert await values(client, thread) == before


async def test_images_of_several_megabytes_pass_untouched(client: LangGraphClient) -> None:
    """Into the graph, through the stream, into the state, and as input of the next run."""
    thread, content = await new_thread(client), image(4 * MEGABYTE)
    given: dict[str, Any] = {
        "messages": [{"role": "user", "content": content, "id": "h-1"}],
        "blob": {"deep": content},
    }
    told = await events(
        client.runs.stream(thread, "measured", input=given, stream_mode=["values", "custom", "updates"])
    )
    assert [event for event, _ in told] == ["metadata", "values", "custom", "updates", "values"]
    assert told[2][1] == {"content": content, "blob": {"deep": content}}
    assert told[3][1]["measure"]["digests"] == [digest(content), digest({"deep": content})]
    kept = await values(client, thread)
    assert (kept["messages"][0]["content"], kept["blob"]) == (content, {"deep": content})
    again = await wait(client, thread, "measured", input={"blob": "small"})
    assert again["digests"] == [digest(content), digest("small")]
