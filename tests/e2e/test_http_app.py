"""The `http` section of langgraph.json: the user's own app, switches, CORS, headers and the mount."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from websockets.asyncio.client import connect

from tests.e2e.steps import events, new_thread, wait
from tests.stack import GRAPHS, Service, Stack

PAGE = "https://page.example"


@asynccontextmanager
async def serving(
    stack: Stack, folder: Path, http: dict[str, Any], **settings: str
) -> AsyncGenerator[tuple[Service, httpx.AsyncClient]]:
    """An API of its own on the shared stack, with an `http` section."""
    api = await stack.spawn("api", **configured(folder, http), **settings)
    await api.ready()
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
        yield api, client
    assert await api.stop() == 0


def configured(folder: Path, http: dict[str, Any]) -> dict[str, str]:
    """Settings that name a langgraph.json with this section, and where the app writes that it was closed."""
    graphs = {name: f"{GRAPHS.parent}/reference.py:{name}" for name in ("steps", "seen", "chat", "slow")}
    if "app" in http:
        http = {**http, "app": f"{GRAPHS.parent}/webapp.py:{http['app']}"}
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": graphs, "http": http}), encoding="utf-8")
    return {"LANGGRAPH_CONFIG": str(path), "WEBAPP_LOG": str(folder / "webapp.log")}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mine(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[tuple[Service, httpx.AsyncClient]]:
    """A FastAPI app around the server."""
    folder = tmp_path_factory.mktemp("webapp")
    async with serving(stack, folder, {"app": "app"}) as served:
        yield served
    assert (folder / "webapp.log").read_text(encoding="utf-8") == "closed"


async def test_the_apps_routes_are_served_after_its_lifespan_has_begun(mine: Any) -> None:
    _, http = mine
    answer = await http.get("/hello")

    assert answer.json() == {"opened": "in the lifespan", "left": "for requests", "root": ""}
    assert (await http.post("/items", json={"name": "a"})).json() == {"what": "a"}
    assert (await http.post("/items", json={})).status_code == 422


async def test_the_apps_routes_stand_above_the_servers_but_for_its_health(mine: Any) -> None:
    api, http = mine

    assert (await http.post("/assistants/search", json={})).json() == ["mine"]
    assert (await http.get("/ok")).json() == {"ok": True, "services": {}}
    assert (await http.get("/info")).json()["flags"]["assistants"] is True
    # A path of the app's with a method that only the server has, and one that nobody has.
    assert (await http.get("/threads")).json() == {"detail": "Method Not Allowed"}
    assert (await http.post("/threads", json={})).json()["status"] == "idle"
    assert (await http.get("/items")).status_code == 405
    assert (await wait(api.client, None, "steps", input={"text": "a"}))["text"] == "A!"


async def test_the_apps_middleware_is_around_everything(mine: Any) -> None:
    api, http = mine
    for path in ("/hello", "/ok", "/threads/nope", "/nowhere"):
        assert (await http.get(path)).headers["x-mark"] == "yes", path
    thread = await new_thread(api.client)
    streamed = await events(api.client.runs.stream(thread, "steps", input={"text": "a"}))
    assert [name for name, _ in streamed] == ["metadata", "values", "values", "values"]


async def test_what_the_app_streams_is_left_as_it_is(mine: Any) -> None:
    _, http = mine
    answer = await http.get("/counted")

    assert (answer.text, answer.headers["content-location"]) == ("0\n1\n2\n", "/mine/1")


async def test_a_crash_in_the_app_is_a_500_with_its_traceback_in_the_log(mine: Any) -> None:
    api, http = mine

    assert (await http.get("/boom")).status_code == 500
    assert await api.logged("RuntimeError: the app crashed on purpose")
    assert (await http.get("/ok")).status_code == 200


async def test_both_are_described_in_one_document(mine: Any) -> None:
    _, http = mine
    described = (await http.get("/openapi.json")).json()
    paths, schemas = described["paths"], described["components"]["schemas"]

    assert set(paths["/items"]) == {"post"}
    assert "/threads/{thread_id}" in paths
    assert schemas["Problem"]["required"] == ["detail"]
    answer = paths["/items"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schemas[answer["$ref"].rpartition("/")[2]]["required"] == ["what"]


async def test_websockets_are_the_apps_or_the_servers(mine: Any) -> None:
    api, _ = mine
    thread = await new_thread(api.client)
    url = api.url.replace("http", "ws")

    async with connect(f"{url}/echo") as socket:
        await socket.send("over here")
        assert await socket.recv() == "over here"
    async with connect(f"{url}/threads/{thread}/stream/events") as socket:
        await socket.send("this is no command")
        assert "error" in str(await socket.recv())


async def test_an_app_of_no_framework_gets_what_the_server_does_not_have(
    stack: Stack, tmp_path: Path
) -> None:
    async with serving(stack, tmp_path, {"app": "plain"}) as (_, http):
        assert (await http.get("/anything")).text == "plain /anything"
        assert (await http.get("/ok")).json()["ok"] is True
        assert (await http.post("/threads", json={})).status_code == 200


@pytest.mark.parametrize(
    ("http", "problem"),
    [
        (
            {"app": "broken"},
            ("ValueError: no database, on purpose", "could not start: ValueError: no database"),
        ),
        ({"app": "nothing"}, ("has no attribute 'nothing'",)),
        ({"app": "PAGE"}, ("has no attribute 'PAGE'",)),
    ],
)
async def test_an_app_that_cannot_start_stops_the_start(
    stack: Stack, tmp_path: Path, http: dict[str, Any], problem: tuple[str, ...]
) -> None:
    api = await stack.spawn("api", **configured(tmp_path, http))

    for text in ("`http.app`", *problem):
        assert await api.logged(text), api.text
    assert await api.ended() == os.EX_CONFIG


async def test_what_is_switched_off_is_not_there(stack: Stack, tmp_path: Path) -> None:
    switches = ("assistants", "threads", "runs", "store", "mcp", "a2a", "meta", "ui", "webhooks")
    section = {"app": "starlette", **{f"disable_{name}": True for name in switches}}
    async with serving(stack, tmp_path, section) as (_, http):
        for path in (
            "/threads",
            "/runs",
            "/runs/wait",
            "/assistants/search",
            "/threads/search",
            "/store/items/search",
        ):
            assert (await http.post(path, json={})).status_code == 404, path
        for path in ("/docs", "/openapi.json", "/metrics"):
            assert (await http.get(path)).status_code == 404, path
        # Without the server's own, the app's stand.
        assert [(await http.get(path)).text for path in ("/", "/info", "/ok")] == ["mine"] * 3


async def test_only_what_is_switched_off_is_gone(stack: Stack, tmp_path: Path) -> None:
    async with serving(stack, tmp_path, {"disable_threads": True, "disable_meta": True}) as (api, http):
        assert (await http.post("/threads", json={})).status_code == 404
        assert (await http.get("/ok?check_db=1")).json() == {"ok": True, "services": {}}
        assert (await wait(api.client, None, "steps", input={"text": "a"}))["text"] == "A!"


async def test_without_cors_no_page_is_let_in(api: Service) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        answer = await http.get("/info", headers={"origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_cors_lets_in_the_pages_that_it_names(stack: Stack, tmp_path: Path) -> None:
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    section = {"app": "app", "cors": {"allow_origins": [PAGE], "max_age": 7}}
    async with serving(stack, tmp_path, section) as (_, http):
        for path in ("/threads", "/hello"):
            preflight = await http.options(path, headers={"origin": PAGE, **asking})
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == PAGE
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert preflight.headers["access-control-allow-headers"] == "x-api-key"
            assert preflight.headers["access-control-max-age"] == "7"
        answer = await http.get("/boom", headers={"origin": PAGE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, PAGE)
        assert "content-location" in answer.headers["access-control-expose-headers"]
        stranger = await http.get("/info", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in stranger.headers


async def test_headers_that_are_let_through_reach_the_runs_config(stack: Stack, tmp_path: Path) -> None:
    section = {
        "configurable_headers": {
            "includes": ["x-one", "X-Many-*", "x-api-key"],
            "excludes": ["x-many-secret"],
        },
        "logging_headers": {"includes": ["x-*"]},
    }
    given = {"X-One": "1", "x-many-a": "2", "x-many-secret": "3", "x-other": "4"}
    async with serving(stack, tmp_path, section) as (api, _):
        client = get_client(url=api.url, headers=given, api_key="5")
        config = {"configurable": {"x-one": "from the body", "mine": 1}}
        seen = (await wait(client, None, "seen", input={}, config=config))["seen_configurable"]
        named = {name: value for name, value in seen.items() if name.startswith("x-") or name == "mine"}
        assert named == {"x-one": "1", "x-many-a": "2", "x-api-key": "5", "mine": 1}
        assert "x-one" not in str(await wait(api.client, None, "seen", input={}))


async def test_webhooks_can_be_switched_off(stack: Stack, tmp_path: Path) -> None:
    async with serving(stack, tmp_path, {"disable_webhooks": True}) as (api, _):
        thread = await new_thread(api.client)
        run = await api.client.runs.create(
            thread, "steps", input={"text": "a"}, webhook="http://127.0.0.1:9/"
        )
        assert cast("dict[str, Any]", run)["kwargs"]["webhook"] is None


async def test_everything_lies_below_the_mount(stack: Stack, tmp_path: Path) -> None:
    async with serving(stack, tmp_path, {"app": "app", "mount_prefix": "/api"}) as (api, http):
        assert (await http.get("/api/hello")).json()["root"] == "/api"
        assert (await http.get("/hello")).status_code == 404
        assert (await http.post("/threads", json={})).status_code == 404
        # Probes and scrapers find the process where they always do.
        assert [(await http.get(path)).status_code for path in ("/ok", "/", "/metrics")] == [200] * 3
        assert (await http.get("/api/ok")).json() == {"ok": True, "services": {}}
        assert (await http.get("/api/openapi.json")).json()["servers"] == [{"url": "/api"}]

        client = get_client(url=f"{api.url}/api")
        thread = await new_thread(client)
        streamed = await events(client.runs.stream(thread, "steps", input={"text": "a"}))
        assert [name for name, _ in streamed] == ["metadata", "values", "values", "values"]


async def test_the_mount_can_be_set_in_the_environment(stack: Stack, tmp_path: Path) -> None:
    async with serving(stack, tmp_path, {"mount_prefix": "/not/this"}, MOUNT_PREFIX="/team/agents/") as (
        _,
        http,
    ):
        assert (await http.get("/team/agents/info")).status_code == 200
        assert (await http.get("/not/this/info")).status_code == 404
