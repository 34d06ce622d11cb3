"""`auth` of langgraph.json: `langgraph_sdk.Auth` objects, unmodified."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.auth import as_user, asking_as, guarded, headers_of
from tests.stack import GRAPHS, Service, Stack
from treadle.model import default_assistant_id


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Service]:
    async with guarded(stack, tmp_path_factory.mktemp("auth")) as api:
        yield api


@pytest.fixture
def ada(api: Service) -> LangGraphClient:
    return as_user(api, "ada")


@pytest.fixture
def bob(api: Service) -> LangGraphClient:
    return as_user(api, "bob")


NO_INPUT: dict[str, Any] = {}


async def nothing(call: Awaitable[Any]) -> None:
    """What is asked for is not there, in either of the ways in which the client says so."""
    with pytest.raises((NotFoundError, httpx.HTTPStatusError)) as error:
        await call
    assert cast(Any, error.value).response.status_code == 404


async def test_nobody_is_answered_without_saying_who_asks(api: Service) -> None:
    async with asking_as(api, {}) as nobody:
        answer = await nobody.post("/threads/search", json={})
        assert answer.status_code == 401
        assert answer.json() == {"detail": "Who are you?"}
        assert answer.headers["x-asked"] == "POST /threads/search"
        for public in ("/", "/ok", "/info", "/metrics", "/docs", "/openapi.json"):
            assert (await nobody.get(public)).status_code == 200, public


async def test_a_function_that_fails_lets_nobody_in_and_tells_nothing(api: Service) -> None:
    async with asking_as(api, headers_of("broken")) as client:
        answer = await client.post("/threads/search", json={})
    assert answer.status_code == 401
    assert "broken" not in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_handler_that_says_no_is_a_403(api: Service) -> None:
    async with asking_as(api, headers_of("nobody")) as client:
        answer = await client.post("/threads", json={})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "'nobody' may not create threads here."


async def test_what_handlers_write_is_kept_and_what_they_filter_by_is_all_that_is_seen(
    ada: LangGraphClient, bob: LangGraphClient
) -> None:
    thread = await ada.threads.create(metadata={"topic": "looms"})
    assert thread["metadata"] == {"topic": "looms", "owner": "ada"}

    with pytest.raises(NotFoundError):
        await bob.threads.get(thread["thread_id"])
    with pytest.raises(NotFoundError):
        await bob.threads.update(thread["thread_id"], metadata={"owner": "bob"})
    with pytest.raises(NotFoundError):
        await bob.threads.delete(thread["thread_id"])
    assert await bob.threads.search(metadata={"topic": "looms"}) == []
    assert (await ada.threads.get(thread["thread_id"]))["metadata"] == {"topic": "looms", "owner": "ada"}


async def test_contains_finds_one_of_a_list(ada: LangGraphClient, api: Service) -> None:
    auditor = as_user(api, "auditor")
    read = await ada.threads.create(metadata={"readers": ["boss", "auditor"]})
    unread = await ada.threads.create(metadata={"readers": "auditor"})

    assert (await auditor.threads.get(read["thread_id"]))["thread_id"] == read["thread_id"]
    with pytest.raises(NotFoundError):
        await auditor.threads.get(unread["thread_id"])


async def test_runs_are_their_threads_owners(ada: LangGraphClient, bob: LangGraphClient) -> None:
    thread = (await ada.threads.create())["thread_id"]
    await ada.runs.wait(thread, "steps", input={"value": "a"})
    run = (await ada.runs.list(thread))[0]["run_id"]

    calls: list[Any] = [
        bob.runs.wait(thread, "steps", input=NO_INPUT),
        bob.runs.list(thread),
        bob.runs.get(thread, run),
        bob.runs.join(thread, run),
        bob.runs.cancel(thread, run),
        bob.runs.delete(thread, run),
        bob.threads.get_state(thread),
        bob.threads.get_history(thread),
        bob.threads.update_state(thread, {"value": "b"}),
        bob.threads.copy(thread),
    ]
    for call in calls:
        await nothing(call)
    assert [each["run_id"] for each in await ada.runs.list(thread)] == [run]


async def test_a_thread_that_comes_with_its_run_is_its_owners(
    ada: LangGraphClient, bob: LangGraphClient
) -> None:
    thread = str(uuid4())
    await ada.runs.wait(thread, "steps", input={"value": "a"}, if_not_exists="create")

    assert cast(Any, await ada.threads.get(thread))["metadata"]["owner"] == "ada"
    with pytest.raises(NotFoundError):
        await bob.threads.get(thread)


async def test_graphs_learn_who_asks_whatever_the_request_claims(ada: LangGraphClient) -> None:
    claimed: Any = {
        "configurable": {"langgraph_auth_user": {"identity": "root"}, "langgraph_auth_user_id": "root"}
    }
    values = cast("dict[str, Any]", await ada.runs.wait(None, "seen", input={}, config=claimed))
    configurable = values["seen_configurable"]
    assert configurable["langgraph_auth_user_id"] == "ada"
    assert configurable["langgraph_auth_permissions"] == ["ada:all"]
    user = configurable["langgraph_auth_user"]
    assert {**user, "path": {}} == {
        "identity": "ada",
        "display_name": "ada",
        "is_authenticated": True,
        "permissions": ["ada:all"],
        "plan": "free",
        "path": {},
        "tenant": "default",
    }


async def test_factories_learn_who_asks(ada: LangGraphClient) -> None:
    claimed: Any = {"configurable": {"langgraph_auth_user": {"identity": "root"}}}
    assert await ada.runs.wait(None, "owned", input=NO_INPUT, config=claimed) == {"answer": "ada"}


async def test_factories_learn_who_looks(api: Service, ada: LangGraphClient) -> None:
    """At states, at the graph of an assistant, and where a state is made."""
    assistant = await ada.assistants.create("private", name="mine")
    drawn = await ada.assistants.get_graph(assistant["assistant_id"])
    assert "ada" in json.dumps(drawn)
    assert await ada.assistants.get_schemas(assistant["assistant_id"])
    thread = (await ada.threads.create())["thread_id"]
    assert await ada.runs.wait(thread, "private", input=NO_INPUT) == {"answer": "threads.create_run"}
    await ada.threads.update_state(thread, {"answer": "changed"}, as_node="ada")
    state = await ada.threads.get_state(thread)
    assert cast("dict[str, Any]", state["values"]) == {"answer": "changed"}
    assert len(await ada.threads.get_history(thread)) == 4
    steps: Any = [{"updates": [{"values": {"answer": "before"}, "as_node": "ada"}]}]
    made = await ada.threads.create(graph_id="private", supersteps=steps)
    assert cast("dict[str, Any]", made["values"]) == {"answer": "before"}


async def test_assistants_are_their_owners_and_default_ones_are_everybodys_to_run(
    ada: LangGraphClient, bob: LangGraphClient
) -> None:
    mine = (await ada.assistants.create("steps"))["assistant_id"]
    run = cast("Awaitable[Any]", bob.runs.wait(None, mine, input=NO_INPUT))

    with pytest.raises(NotFoundError):
        await bob.assistants.get(mine)
    await nothing(run)
    with pytest.raises(NotFoundError):
        await bob.assistants.update(mine, name="taken over")
    with pytest.raises(NotFoundError):
        await bob.assistants.update(str(default_assistant_id("steps")), name="taken over")
    assert mine in [each["assistant_id"] for each in await ada.assistants.search()]
    assert mine not in [each["assistant_id"] for each in await bob.assistants.search()]
    await bob.runs.wait(None, "steps", input={"value": "a"})


async def test_the_store_is_used_below_the_namespace_that_the_handler_says(
    ada: LangGraphClient, bob: LangGraphClient
) -> None:
    await ada.store.put_item(["notes"], "one", {"text": "warp"})

    assert (await ada.store.get_item(["notes"], "one"))["namespace"] == ["ada", "notes"]
    assert await bob.store.get_item(["notes"], "one") is None
    assert [each["key"] for each in (await ada.store.search_items([]))["items"]] == ["one"]
    assert (await bob.store.search_items([]))["items"] == []
    assert (await bob.store.list_namespaces())["namespaces"] == []


async def test_crons_are_their_owners_and_know_the_user(ada: LangGraphClient, bob: LangGraphClient) -> None:
    cron = cast(
        "dict[str, Any]",
        await ada.crons.create("seen", input=NO_INPUT, schedule="0 0 1 1 *", on_run_completed="keep"),
    )

    assert cron["user_id"] == "ada"
    with pytest.raises(NotFoundError):
        await bob.crons.delete(cron["cron_id"])
    assert await bob.crons.search() == []
    assert [each["cron_id"] for each in await ada.crons.search()] == [cron["cron_id"]]
    run = await ada.http.post(f"/runs/crons/{cron['cron_id']}/trigger", json={})
    values = cast("dict[str, Any]", await ada.runs.join(run["thread_id"], run["run_id"]))
    assert values["seen_configurable"]["langgraph_auth_user_id"] == "ada"
    await ada.crons.delete(cron["cron_id"])


async def test_a_websocket_is_not_opened_for_nobody(api: Service, ada: LangGraphClient) -> None:
    thread = (await ada.threads.create())["thread_id"]
    url = f"{api.url.replace('http', 'ws')}/threads/{thread}/stream/events"

    with pytest.raises((ConnectionClosed, Exception)) as refused:
        async with connect(url) as socket:
            await socket.recv()
    assert "401" in str(refused.value) or "403" in str(refused.value)
    async with connect(url, additional_headers=headers_of("ada")) as socket:
        await socket.send('{"id": 1, "method": "agent.getTree"}')
        assert b"no_such_run" in bytes(str(await socket.recv()), "utf-8")


async def test_the_description_says_how_to_prove_who_asks(api: Service) -> None:
    async with asking_as(api, {}) as nobody:
        described = (await nobody.get("/openapi.json")).json()
    assert "401" in described["paths"]["/threads"]["post"]["responses"]
    assert "403" in described["paths"]["/threads"]["post"]["responses"]


async def test_protocols_of_other_agents_ask_who_it_is_too(api: Service) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(base_url=api.url, headers=accept, timeout=30) as client:
        assert (await client.post("/mcp", json=call)).status_code == 401
        answer = await client.post("/mcp", json=call, headers=headers_of("ada"))
        assert answer.status_code == 200, answer.text
        assert (await client.get("/a2a/chat")).status_code == 401


async def test_the_apps_own_routes_ask_who_it_is_where_that_is_wished(
    stack: Stack, tmp_path: Path, api: Service
) -> None:
    app = {"app": f"{GRAPHS.parent}/webapp.py:app"}
    for http, hello in (
        (app, 200),
        ({**app, "enable_custom_route_auth": True}, 401),
        ({**app, "enable_custom_route_auth": True, "middleware_order": "auth_first"}, 401),
    ):
        async with (
            guarded(stack, tmp_path, http=http, WEBAPP_LOG=str(tmp_path / "log")) as mine,
            asking_as(mine, {}) as nobody,
            asking_as(mine, headers_of("ada")) as ada,
        ):
            assert (await nobody.get("/hello")).status_code == hello, http
            assert (await nobody.get("/ok")).status_code == 200, http
            assert (await nobody.post("/threads", json={})).status_code == 401, http
            assert (await ada.get("/hello")).status_code == 200, http
            thread = (await ada.post("/threads", json={})).json()
            assert thread["metadata"] == {"owner": "ada"}, http


@pytest.mark.parametrize("tenant", [None, "another"], ids=["same tenant", "another tenant"])
async def test_who_followed_a_thread_hears_nothing_of_one_that_somebody_else_makes_under_its_id(
    stack: Stack, tmp_path: Path, tenant: str | None
) -> None:
    async with guarded(stack, tmp_path, TREADLE_SSE_HEARTBEAT_SECS="0.1") as api:
        bob = as_user(api, "bob", tenant)
        async with asking_as(api, headers_of("ada")) as ada, asyncio.TaskGroup() as tasks:
            thread = (await ada.post("/threads", json={})).json()["thread_id"]
            heard = Heard()
            query = {"stream_modes": ["lifecycle", "run_modes", "state_update"]}
            async with ada.stream("GET", f"/threads/{thread}/stream", params=query) as stream:
                listening = tasks.create_task(heard.listen(stream))
                await heard.heartbeats(1)
                assert (await ada.delete(f"/threads/{thread}")).status_code == 204
                await bob.threads.create(thread_id=thread)
                await bob.runs.wait(thread, "steps", input={"text": "bob's"})
                await bob.threads.update_state(thread, {"text": "bob's"})
                await heard.heartbeats(5)
                listening.cancel()
        assert heard.told == []


class Heard:
    """What comes over a stream: heartbeats, and what else it tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._beats = 0
        self._changed = asyncio.Condition()

    async def listen(self, stream: httpx.Response) -> None:
        async for line in stream.aiter_lines():
            async with self._changed:
                if line.startswith(":"):
                    self._beats += 1
                elif line:
                    self.told.append(line)
                self._changed.notify_all()

    async def heartbeats(self, more: int) -> None:
        """Wait for so many from now on."""
        wanted = self._beats + more
        async with self._changed:
            await self._changed.wait_for(lambda: self._beats >= wanted)
