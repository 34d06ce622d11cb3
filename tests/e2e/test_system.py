"""What the server says of itself, and of requests that lead nowhere."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from importlib.metadata import version
from typing import Any, cast

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.test_runs import new_thread
from tests.stack import Service, running_stack

RECOVERY_SECS = 20.0
DEPTH = 'treadle_queue_depth{route="default"}'
STEPS = {"assistant_id": "steps", "input": {"text": "a"}}


def client_of(api: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=api.url, timeout=30)


async def test_a_server_that_is_up_says_so(http: httpx.AsyncClient) -> None:
    assert (await http.get("/ok")).json() == {"ok": True, "services": {}}
    checked = await http.get("/ok?check_db=1")
    assert checked.status_code == 200
    assert checked.json() == {"ok": True, "services": {"postgres": "ok", "nats": "ok", "redis": "ok"}}


async def test_what_is_missing_is_named_until_it_is_back() -> None:
    async with running_stack("api") as stack, client_of(stack.services("api")[0]) as http:
        for name, server in (
            ("redis", stack.servers.valkey),
            ("nats", stack.servers.nats),
            ("postgres", stack.servers.postgres),
        ):
            await server.stop()
            answer = await answered(http, 503)
            assert answer["ok"] is False
            assert [each for each, state in answer["services"].items() if state != "ok"] == [name]
            assert (await http.get("/ok")).status_code == 200
            assert (await http.get("/metrics")).status_code == 200
            if name == "postgres":
                await refused_for_a_while(http)
            await server.start()
            await answered(http, 200)


async def refused_for_a_while(http: httpx.AsyncClient) -> None:
    """Without Postgres nothing is accepted, and the client is told to come again."""
    for request in (http.post("/threads", json={}), http.post("/runs", json=STEPS)):
        refused = await request
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "Postgres" in refused.json()["detail"]


async def answered(http: httpx.AsyncClient, status: int) -> dict[str, Any]:
    """Ask until the check has this status: connections are lost and found on their own time."""
    async with asyncio.timeout(RECOVERY_SECS):
        while (answer := await http.get("/ok?check_db=1")).status_code != status:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
    return answer.json()


async def test_info_tells_versions_and_what_is_served(http: httpx.AsyncClient) -> None:
    assert (await http.get("/info")).json() == {
        "version": version("treadle"),
        "langgraph_py_version": version("langgraph"),
        "flags": {"assistants": True, "crons": True, "langsmith": False, "strict_resume": True},
    }


def takes_a_body(method: str, path: str) -> bool:
    if path == "/store/items":
        return method in ("put", "delete")
    return method in ("post", "patch") and not path.endswith(("}/cancel", "}/copy", "}/trigger"))


def says_nothing(method: str, path: str) -> bool:
    """Whether all is well when there is no answer to describe."""
    return method in ("put", "delete") or path.endswith("/cancel")


async def test_every_route_is_described(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert ("requestBody" in operation) == takes_a_body(method, path), where
            assert {
                f"{{{each['name']}}}" for each in operation.get("parameters", ()) if each["in"] == "path"
            } == set(re.findall(r"\{\w+\}", path)), where
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert all("content" in answer for answer in good[:1]) or says_nothing(method, path), where
            bad = {status for status in operation["responses"] if status[0] in "45"}
            assert bad >= ({"404", "422", "503"} if "{" in path else set()), where
    for reference in set(re.findall(r"#/components/schemas/(\w+)", str(described))):
        assert reference in described["components"]["schemas"]


async def test_the_body_of_a_run_is_described_field_by_field(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()
    run = described["components"]["schemas"]["NewRun"]
    assert run["required"] == ["assistant_id"]
    assert {
        "input",
        "command",
        "config",
        "context",
        "stream_mode",
        "multitask_strategy",
        "durability",
    } <= set(run["properties"])


class References(HTMLParser):
    """What a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


async def test_the_docs_are_one_page_that_needs_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    references = References()
    references.feed(page.text)
    assert references.found == ["openapi.json"]
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_metrics_count_what_happens(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    before = series((await http.get("/metrics")).text)
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input={"text": "a"})
    answer = await http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    after = series(answer.text)
    assert after["treadle_runs_created_total"] == before.get("treadle_runs_created_total", 0) + 1
    assert after['treadle_wakeups_published_total{source="create"}'] >= 1
    requests = 'treadle_http_request_duration_seconds_count{method="POST",route="/threads/{thread_id}/runs/wait",status="200"}'
    assert after[requests] == before.get(requests, 0) + 1
    assert not [name for name in after if thread in name]


async def test_metrics_show_what_waits() -> None:
    async with running_stack("api") as stack:
        api = stack.services("api")[0]
        for _ in range(3):
            await api.client.runs.create(None, "steps", input={"text": "a"})
        async with client_of(api) as http:
            shown = series((await http.get("/metrics")).text)
            assert shown[DEPTH] == 3
            assert shown['treadle_oldest_pending_age_seconds{route="default"}'] > 0
            await stack.worker()
            async with asyncio.timeout(RECOVERY_SECS):
                while series((await http.get("/metrics")).text)[DEPTH]:  # noqa: ASYNC110 - scraped, as Prometheus does
                    await asyncio.sleep(0.1)


def series(text: str) -> dict[str, float]:
    """Prometheus text as numbers by series."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/threads/a/b/c/d", 404),
        ("POST", "/runs/bogus/stream", 404),
        ("PUT", "/threads", 405),
        ("DELETE", "/ok", 405),
        ("GET", "/runs/wait", 405),
    ],
)
async def test_a_wrong_path_or_method_is_told(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "body", [b"{bad", b"", b"[]", b'"text"', b"5", b"\xff\xfe", b'{"metadata": {"a": NaN}}']
)
@pytest.mark.parametrize("path", ["/threads", "/runs", "/assistants/search"])
async def test_a_body_that_is_no_object_is_refused(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await http.post(path, content=body)
    assert answer.status_code == 422
    assert "body" in answer.json()["detail"]


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(api: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"POST /runs HTTP/1.1\r\nhost: treadle\r\ncontent-length: 100000000\r\n\r\n{")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"detail":' in answer


async def test_parameters_have_bounds(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    runs = f"/threads/{await new_thread(client)}/runs"
    for query in ("limit=-1", "limit=10001", "limit=x", "offset=-1", "status=bogus"):
        answer = await http.get(f"{runs}?{query}")
        assert answer.status_code == 422
        assert query.partition("=")[0] in answer.json()["detail"]


async def test_two_apis_share_everything(client: LangGraphClient, other_api: Service) -> None:
    other = other_api.client
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"delay": 0.2})
    assert cast("dict[str, Any]", await other.runs.join(thread, run["run_id"]))["steps"][-1] == "done"
    assert await other.threads.get(thread) == await client.threads.get(thread)


async def test_head_has_the_headers_of_get_and_no_body(
    http: httpx.AsyncClient, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "steps", input={"text": "a"})
    await client.runs.join(thread, run["run_id"])
    one = f"/threads/{thread}/runs/{run['run_id']}"

    for path in (
        "/",
        "/info",
        "/docs",
        "/openapi.json",
        f"/threads/{thread}",
        f"{one}/stream",
        f"{one}/join",
        "/threads/x",
    ):
        got, head = await http.get(path), await http.head(path)
        assert head.status_code == got.status_code, path
        assert head.content == b""
        differing = {name for name, value in got.headers.items() if head.headers.get(name) != value}
        assert differing <= {"date", "transfer-encoding"}, path
    assert "HEAD" not in (await http.head("/threads")).headers["allow"]
    assert "HEAD" in (await http.put("/info")).headers["allow"]


async def test_to_ask_for_the_headers_of_a_stream_does_not_touch_its_run(
    http: httpx.AsyncClient, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"delay": 0.5})
    one = f"/threads/{thread}/runs/{run['run_id']}"

    assert (await http.head(f"{one}/stream?cancel_on_disconnect=1")).status_code == 200
    assert (await http.head(f"{one}/join?cancel_on_disconnect=1")).status_code == 200
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"


async def test_a_slash_at_the_end_changes_nothing(http: httpx.AsyncClient) -> None:
    assert (await http.get("/info/")).json() == (await http.get("/info")).json()
    assert (await http.post("/threads/", json={})).status_code == 200
    assert (await http.get("/")).json() == {"ok": True, "services": {}}
