"""Every call of the client's plain HTTP part."""

from __future__ import annotations

from typing import Any

import httpx

from tests.e2e.calls.sdk import TRANSPORT, Sdk

Answers = list[httpx.Response]


async def get(sdk: Sdk) -> None:
    answers: Answers = []
    assert (await sdk.http.get("/info", on_response=answers.append, **TRANSPORT))["version"]
    assert answers[0].url.params["told"] == "by the test"
    assert answers[0].request.headers["x-told"] == "by the test"


async def post(sdk: Sdk) -> None:
    answers: Answers = []
    thread = await sdk.http.post("/threads", json={}, on_response=answers.append, **TRANSPORT)
    assert answers[0].json() == thread


async def put(sdk: Sdk) -> None:
    answers: Answers = []
    item: dict[str, Any] = {"namespace": [sdk.mark], "key": "k", "value": {"a": 1}}
    assert await sdk.http.put("/store/items", json=item, on_response=answers.append, **TRANSPORT) is None
    assert answers[0].status_code == 204


async def patch(sdk: Sdk) -> None:
    answers: Answers = []
    thread = await sdk.thread()
    changed = await sdk.http.patch(
        f"/threads/{thread}", json={"metadata": {"a": 1}}, on_response=answers.append, **TRANSPORT
    )
    assert (changed["metadata"]["a"], len(answers)) == (1, 1)


async def delete(sdk: Sdk) -> None:
    answers: Answers = []
    await sdk.store.put_item([sdk.mark], "k", {"a": 1})
    item: dict[str, Any] = {"namespace": [sdk.mark], "key": "k"}
    await sdk.http.delete("/store/items", json=item, on_response=answers.append, **TRANSPORT)
    assert answers[0].status_code == 204


async def request_reconnect(sdk: Sdk) -> None:
    answers: Answers = []
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"text": "a"}}
    values = await sdk.http.request_reconnect(
        "/runs/wait", "POST", json=body, on_response=answers.append, reconnect_limit=2, **TRANSPORT
    )
    assert values["text"] == "A!"
    assert "location" in answers[0].headers


async def stream(sdk: Sdk) -> None:
    answers: Answers = []
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"text": "a"}}
    parts = sdk.http.stream("/runs/stream", "POST", json=body, on_response=answers.append, **TRANSPORT)
    assert [part.event async for part in parts] == ["metadata", "values", "values", "values"]
    assert answers[0].status_code == 200
