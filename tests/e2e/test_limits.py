"""Limits, as clients meet them: over HTTP, over websockets and over NATS."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.direct import Bus
from tests.e2e.steps import eventually, new_thread
from tests.stack import Service, Stack

MOST_BYTES = 20_000
SECS = 20.0
DEEP = '{"assistant_id": "steps", "input": ' + "[" * 50_000 + "]" * 50_000 + "}"
TOO_DEEP = "body: its objects and lists are more than 100 deep inside of each other (TREADLE_MAX_JSON_DEPTH)."
MANY = [str(uuid4())] * 1001
POSTS = [
    ("/runs", DEEP),
    ("/runs/batch", f"[{DEEP}]"),
    ("/threads", DEEP),
    ("/threads/search", DEEP),
    (f"/threads/{UUID(int=7)}/commands", DEEP),
    ("/store/namespaces", DEEP),
    ("/mcp", DEEP),
    ("/a2a/steps", DEEP),
]

TOO_MUCH: list[tuple[str, Any, str]] = [
    ("/runs/batch", [{"assistant_id": "steps"}] * 1001, "body: it has 1001 entries"),
    ("/threads/prune", {"thread_ids": MANY}, "thread_ids: it has 1001 entries"),
    ("/runs/cancel", {"thread_id": MANY[0], "run_ids": MANY}, "run_ids: it has 1001 entries"),
    ("/threads/search", {"ids": MANY}, "ids: it has 1001 entries"),
    ("/threads", {"supersteps": [{"updates": []}] * 1001}, "supersteps: it has 1001 entries"),
    ("/threads", {"metadata": dict.fromkeys(map(str, range(257)))}, "metadata: it has 257 keys"),
    ("/assistants", {"graph_id": "steps", "metadata": {"k" * 257: 1}}, "metadata: the key that begins"),
    ("/runs", {"assistant_id": "steps", "metadata": {"a": "x" * 65_536}}, "metadata: it takes 65544 bytes"),
    ("/store/items/search", {"namespace_prefix": ["a" * 99] * 21}, "namespace_prefix: its labels take 2099"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(stack: Stack) -> AsyncGenerator[Service]:
    """An API process that lets little through."""
    service = await stack.api(
        TREADLE_HTTP_MAX_BODY_BYTES=str(MOST_BYTES), TREADLE_MAX_STREAMS_PER_CLIENT="2", TREADLE_MAX_PAGE="5"
    )
    yield service
    await service.stop()


def detail(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_whether_its_size_is_announced_or_not(
    strict: Service, announced: bool
) -> None:
    body = json.dumps({"metadata": {}, "more": "x" * MOST_BYTES}).encode()

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), 4096):
            yield body[start : start + 4096]

    async with httpx.AsyncClient(base_url=strict.url) as http:
        answer = await http.post("/threads", content=body if announced else pieces())
        assert detail(answer, 413).startswith(
            f"body: it is larger than {MOST_BYTES} bytes (TREADLE_HTTP_MAX_BODY_BYTES)"
        )
        assert (await http.post("/threads", json={"more": "x" * (MOST_BYTES - 12)})).status_code == 200


@pytest.mark.parametrize(("path", "body"), POSTS)
async def test_a_body_that_is_too_deep_is_refused_by_every_route(
    http: httpx.AsyncClient, path: str, body: str
) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    answer = await http.post(path, content=body, headers=headers)
    assert detail(answer, 422).startswith(TOO_DEEP)


async def test_a_body_that_is_as_deep_as_it_may_be_runs(client: LangGraphClient) -> None:
    given: Any = "a"
    for _ in range(98):  # the body and its metadata are the other two
        given = [given]
    metadata = {"deep": given}
    thread = await client.threads.create(metadata=metadata)
    assert (await client.threads.get(thread["thread_id"]))["metadata"] == metadata


async def test_a_request_over_nats_that_is_too_deep_is_refused(bus: Bus) -> None:
    problem = await bus.refused("create", DEEP.encode())
    assert (problem["code"], problem["error"]) == (422, "InvalidRequest")
    assert problem["detail"].startswith(TOO_DEEP)


async def test_a_frame_that_is_too_deep_is_answered_and_the_socket_stays(
    api: Service, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    async with connect(f"ws://127.0.0.1:{api.port}/threads/{thread}/stream/events") as socket:
        await socket.send(DEEP)
        assert json.loads(await socket.recv())["message"].startswith(TOO_DEEP)
        await socket.send(json.dumps({"id": 1, "method": "agent.getTree"}))
        assert json.loads(await socket.recv())["id"] == 1


@pytest.mark.parametrize(("path", "body", "place"), TOO_MUCH)
async def test_what_is_too_much_is_refused_with_its_place(
    http: httpx.AsyncClient, path: str, body: Any, place: str
) -> None:
    assert detail(await http.post(path, json=body), 422).startswith(place)


async def test_no_operation_gives_more_at_once_than_a_page_may_have(strict: Service) -> None:
    """All that are described as taking a `limit`."""
    async with httpx.AsyncClient(base_url=strict.url) as http:
        described = (await http.get("/openapi.json")).json()
        asked = [
            (method, re.sub(r"\{\w+\}", str(UUID(int=7)), path), place)
            for path, item in described["paths"].items()
            for method, operation in item.items()
            if (place := takes_limit(described, operation)) is not None
        ]
        assert len(asked) >= 9
        for method, path, place in asked:
            for limit, status in ((6, (422,)), (5, (200, 404, 422))):
                given: Any = {"params": {"limit": limit}} if place == "query" else {"json": {"limit": limit}}
                answer = await http.request(method, path, **given)
                told = f"{method} {path}: {answer.status_code} {answer.text[:200]}"
                assert answer.status_code in status, told
                refused = "limit: it is 6, and may be 5 (TREADLE_MAX_PAGE)" in answer.text
                assert refused == (limit > 5), told


def takes_limit(described: dict[str, Any], operation: dict[str, Any]) -> str | None:
    """Where an operation takes a `limit`: in the query or the body."""
    if any(each["name"] == "limit" for each in operation.get("parameters", [])):
        return "query"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    schema = described["components"]["schemas"].get(name, {})
    return "body" if "limit" in schema.get("properties", {}) else None


async def test_a_client_has_so_many_answers_open_and_a_closed_one_makes_room(
    strict: Service, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    path = f"/threads/{thread}/stream"
    url = f"ws://127.0.0.1:{strict.port}{path}/events"
    async with httpx.AsyncClient(base_url=strict.url, timeout=SECS) as http, connect(url) as socket:
        async with http.stream("GET", path) as opened:
            assert opened.status_code == 200
            refused = await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "steps"})
            assert "2 answers open" in detail(refused, 429)
            assert "TREADLE_MAX_STREAMS_PER_CLIENT" in detail(refused, 429)
            assert refused.headers["retry-after"] == "5"
            assert await http.get(f"/threads/{thread}/runs")  # what does not stay open is served
            with pytest.raises(ConnectionClosed) as closed:
                async with connect(url) as another:
                    await another.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason[:15]) == (1013, "This client has")
        await socket.close()
        assert (await client.runs.list(thread)) == []
        async with AsyncExitStack() as later:

            async def joined() -> bool:
                """The server learns of a client that has gone a moment after it has."""
                return (await later.enter_async_context(http.stream("GET", path))).status_code == 200

            await eventually(joined)
