"""The official client of the Model Context Protocol uses assistants as tools."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import httpx2
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from mcp import Client, ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import PaginatedRequestParams, TextContent, Tool

from tests.e2e.steps import Values
from tests.e2e.test_http_app import serving
from tests.stack import Service, Stack

DOCS = Path(__file__).parents[2] / "docs" / "mcp.md"
HEADERS = {"accept": "application/json, text/event-stream"}

Told = tuple[float, float | None, str | None]
# The nodes of the graph `steps`, and what the second one reports.
OF_STEPS: list[Told] = [
    (1, None, "first"),
    (2, None, '{"progress":1}'),
    (3, None, "half way"),
    (4, None, "second"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(stack: Stack) -> AsyncGenerator[Service]:
    """Another API process, which soon shows that it is alive; the last test stops it."""
    other = await stack.api(TREADLE_SSE_HEARTBEAT_SECS="0.1")
    yield other
    await other.stop()


class Turns(httpx2.AsyncHTTPTransport):
    """Sends one request to the one server, the next to the other, as a load balancer does."""

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._turns = itertools.cycle(ports)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(next(self._turns))
        request.url = request.url.copy_with(port=self.asked[-1])
        return await super().handle_async_request(request)


@asynccontextmanager
async def session(url: str, http: httpx2.AsyncClient | None = None) -> AsyncGenerator[ClientSession]:
    """A session as the revisions of the protocol up to 2025-11-25 have it."""
    async with (
        streamable_http_client(f"{url}/mcp", http_client=http) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


def text(result: Any) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


async def tools(session: ClientSession) -> dict[str, Tool]:
    return {tool.name: tool for tool in (await session.list_tools()).tools}


async def test_the_first_requests_may_come_all_at_once(other: Service) -> None:
    async with httpx.AsyncClient(base_url=other.url, timeout=30) as http:
        answers = await asyncio.gather(
            *(http.post("/mcp", json=_message("ping"), headers=HEADERS) for _ in range(20))
        )
    assert {answer.status_code for answer in answers} == {200}


async def test_every_assistant_is_a_tool(api: Service) -> None:
    async with session(api.url) as mcp:
        found = await tools(mcp)

    assert {"steps", "chat", "functional", "marked"} <= found.keys()
    steps = found["steps"]
    assert steps.title == "steps"
    assert steps.description == "Tool based on the steps assistant"
    assert steps.input_schema["properties"].keys() == {"text", "steps"}
    assert steps.annotations is not None
    assert steps.annotations.read_only_hint is False


async def test_a_model_says_a_text_where_a_graph_takes_messages(api: Service) -> None:
    async with session(api.url) as mcp:
        schema = (await tools(mcp))["chat"].input_schema
        said = await mcp.call_tool("chat", {"messages": "hi"})

    assert schema["properties"]["messages"]["type"] == "string"
    assert [message["content"] for message in said.structured_content["messages"]] == [
        "hi",
        "Hello there friend",
    ]


async def test_an_input_that_is_no_object_is_an_argument(api: Service) -> None:
    async with session(api.url) as mcp:
        schema = (await tools(mcp))["functional"].input_schema
        doubled = await mcp.call_tool("functional", {"input": 3})

    assert schema["type"] == "object"
    assert schema["properties"]["input"]["type"] == "integer"
    assert (text(doubled), doubled.structured_content) == ("6", None)


async def test_assistants_of_one_name_are_tools_of_several(api: Service, client: LangGraphClient) -> None:
    name = f"Ünser/ steps {uuid4()}"
    plain = "_nser_" + name.partition(" ")[2].replace(" ", "_")
    first = await client.assistants.create("steps", name=name, description="Says it louder.")
    second = await client.assistants.create("seen", name=name)
    suffixed = f"{plain}-{second['assistant_id'][-8:]}"

    async with session(api.url) as mcp:
        found = await tools(mcp)
        by_plain = await mcp.call_tool(plain, {"text": "a"})
        by_suffixed = await mcp.call_tool(suffixed, {})
        await client.assistants.delete(first["assistant_id"])
        later = await mcp.call_tool(suffixed, {})

    assert (found[plain].title, found[plain].description) == (name, "Says it louder.")
    assert found[suffixed].title == name
    assert by_plain.structured_content["steps"] == ["first", "second"]
    assert by_suffixed.structured_content.keys() == later.structured_content.keys() >= {"seen_other"}


async def test_a_call_answers_with_the_values(api: Service) -> None:
    async with session(api.url) as mcp:
        result = await mcp.call_tool("steps", {"text": "a"})

    assert result.is_error is False
    assert result.structured_content == {"text": "A!", "steps": ["first", "second"]}
    assert text(result) == '{"text":"A!","steps":["first","second"]}'


async def test_a_graph_that_fails_is_a_result_that_says_why(api: Service) -> None:
    async with session(api.url) as mcp:
        result = await mcp.call_tool("failing", {"text": "a"})

    assert (result.is_error, text(result)) == (True, "ValueError: the node failed on purpose")


async def test_what_cannot_be_asked_for_is_refused(api: Service) -> None:
    async with session(api.url) as mcp:
        for name in ("nobody", "nobody\x00", "steps "):
            with pytest.raises(MCPError, match=f"Unknown tool: {name}"):
                await mcp.call_tool(name, {})
        with pytest.raises(MCPError, match="cursor"):
            await mcp.list_tools(params=PaginatedRequestParams(cursor="nonsense"))
        with pytest.raises(MCPError, match="Method not found"):
            await mcp.list_resources()


async def test_progress_is_told_while_the_run_is_on(api: Service) -> None:
    told: list[Told] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with session(api.url) as mcp:
        result = await mcp.call_tool("steps", {"text": "a"}, progress_callback=hear)
        assert text(result) == '{"text":"A!","steps":["first","second"]}'

    assert told == OF_STEPS


async def test_a_session_is_known_to_every_process(api: Service, other: Service) -> None:
    turns = Turns(api.port, other.port)
    async with httpx2.AsyncClient(transport=turns) as http, session(api.url, http) as mcp:
        for _ in range(3):
            await mcp.send_ping()
            assert "steps" in await tools(mcp)
            assert not (await mcp.call_tool("steps", {"text": "a"})).is_error

    assert turns.asked.count(api.port) >= 5
    assert turns.asked.count(other.port) >= 5


async def test_the_documented_client_works(api: Service) -> None:
    page = DOCS.read_text(encoding="utf-8")
    [script] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    script = script.replace("http://127.0.0.1:2024", api.url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert process.returncode == 0
    assert b"steps - Tool based on the steps assistant\n" in out
    assert b"{'text': 'A!', 'steps': ['first', 'second']}" in out


async def test_the_newest_revision_needs_no_session(api: Service) -> None:
    told: list[Told] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with Client(f"{api.url}/mcp", mode="2026-07-28") as client:
        listed = await client.list_tools()
        result = await client.call_tool("steps", {"text": "a"}, progress_callback=hear)

    assert "steps" in {tool.name for tool in listed.tools}
    assert result.structured_content == {"text": "A!", "steps": ["first", "second"]}
    assert told == OF_STEPS


async def test_a_call_is_a_run_of_which_nothing_stays(api: Service, client: LangGraphClient) -> None:
    async with session(api.url) as mcp:
        seen = (await mcp.call_tool("seen", {})).structured_content

    ids = cast("dict[str, str]", seen["seen_configurable"])
    with pytest.raises(NotFoundError):
        await client.runs.get(ids["thread_id"], ids["run_id"])


async def test_a_long_call_gives_signs_of_life(other: Service) -> None:
    call = {"name": "slow", "arguments": {"delay": 0.5}}
    async with (
        httpx.AsyncClient(base_url=other.url) as http,
        http.stream("POST", "/mcp", json=_message("tools/call", call), headers=HEADERS) as response,
    ):
        pieces = [piece async for piece in response.aiter_raw()]

    assert response.headers["content-type"] == "application/json"
    assert pieces[0] == b"\n"
    answer = json.loads(b"".join(pieces))
    assert answer["result"]["structuredContent"]["steps"] == ["before", "slept", "done"]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_any_http_client_will_do(api: Service, path: str) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        answer = await http.post(path, json=_message("ping"), headers={"accept": "application/json"})

    assert (answer.status_code, answer.json()) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})


async def test_the_headers_of_a_call_reach_its_run(stack: Stack, tmp_path: Path) -> None:
    async with serving(stack, tmp_path, {"configurable_headers": {"includes": ["x-mine"]}}) as (_, http):
        call = _message("tools/call", {"name": "seen", "arguments": {}})
        answer = await http.post("/mcp", json=call, headers={**HEADERS, "x-mine": "yes"})

    seen = answer.json()["result"]["structuredContent"]["seen_configurable"]
    assert seen["x-mine"] == "yes"


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:5173", 200), ("http://[::1]", 200), ("https://example.com", 403)],
)
async def test_pages_of_other_origins_are_kept_out(api: Service, origin: str, status: int) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        answer = await http.post("/mcp", json=_message("ping"), headers={**HEADERS, "origin": origin})

    assert answer.status_code == status
    assert status == 200 or "http.cors.allow_origins" in answer.json()["detail"]


async def test_a_page_that_cors_lets_in_may_use_it(stack: Stack, tmp_path: Path) -> None:
    async with serving(stack, tmp_path, {"cors": {"allow_origins": ["https://example.com"]}}) as (_, http):
        answer = await http.post(
            "/mcp", json=_message("ping"), headers={**HEADERS, "origin": "https://example.com"}
        )

    assert answer.status_code == 200


async def test_a_server_stops_while_calls_are_open(other: Service) -> None:
    call = _message("tools/call", {"name": "slow", "arguments": {"delay": 4}, "_meta": {"progressToken": 1}})
    async with (
        httpx.AsyncClient(base_url=other.url, timeout=30) as http,
        http.stream("POST", "/mcp", json=call, headers=HEADERS) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert await other.stop() == 0
        with pytest.raises(httpx.RemoteProtocolError):
            await response.aread()


def _message(method: str, params: Values | None = None) -> Values:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
