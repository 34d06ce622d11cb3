"""Tenants: nothing of one is there for another, whatever it asks for and however."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from httpx import AsyncClient
from websockets.asyncio.client import connect

from tests.e2e.auth import asking_as, everything, key_of
from tests.e2e.tenancy import Things, asked, asks, remember, rows_of, things_of
from tests.stack import Service, Stack
from treadle_api.access.gate import PUBLIC

# As names of domains and people are; each would be something else in a subject, a key or a pattern.
TENANTS = ("acme.example", "default", "ünïted *.>")
METHODS = ("get", "put", "post", "patch", "delete")


class House:
    """An API, and a client and one of each thing for every tenant."""

    def __init__(self, api: Service) -> None:
        self.api = api
        self.keys: dict[str, str] = {}
        self.clients: dict[str, AsyncClient] = {}
        self.things: dict[str, Things] = {}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(stack: Stack) -> AsyncGenerator[House]:
    async with AsyncExitStack() as clients:
        house = House(await stack.api(TREADLE_API_KEYS="on"))
        for tenant in TENANTS:
            key = await key_of(stack, "--tenant", tenant, *everything())
            house.keys[tenant] = key
            house.clients[tenant] = await clients.enter_async_context(
                asking_as(house.api, {"x-api-key": key})
            )
            house.things[tenant] = await things_of(tenant, house.clients[tenant])
        yield house
    assert await house.api.stop() == 0


async def test_every_operation_that_is_described_is_asked(house: House) -> None:
    described = (await house.clients["default"].get("/openapi.json")).json()["paths"]
    operations = {
        f"{method.upper()} {path}" for path, item in described.items() for method in item if method in METHODS
    }
    guarded = {operation for operation in operations if operation.split()[1] not in PUBLIC}
    assert guarded == set(asks(house.things["default"]))


@pytest.mark.parametrize("owner", TENANTS)
async def test_the_owner_finds_all_of_it(house: House, owner: str) -> None:
    """Otherwise the next test would hold for an API that answers nobody."""
    http, its = house.clients[owner], house.things[owner]
    for path in (
        f"/threads/{its.thread}", f"/threads/{its.thread}/state", f"/threads/{its.thread}/runs/{its.run}",
        f"/assistants/{its.assistant}", f"/runs/crons/{its.cron}", f"/a2a/{its.assistant}",
    ):  # fmt: skip
        assert (await http.get(path)).status_code == 200, path
    found = (await http.post("/threads/search", json={"metadata": {"mark": its.mark}, "limit": 100})).json()
    assert {its.thread, its.asking, its.waiting} <= {each["thread_id"] for each in found}
    item = (await http.get("/store/items", params={"namespace": "notes", "key": "one"})).json()
    assert item["namespace"] == ["notes"]
    assert item["value"] == {"text": its.mark}
    assert ["notes"] in (await http.post("/store/namespaces", json={})).json()["namespaces"]
    tools: Any = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert its.mark in tools.text


@pytest.mark.parametrize("owner", TENANTS)
async def test_a_stranger_finds_nothing_and_changes_nothing(stack: Stack, house: House, owner: str) -> None:
    """Invariant: no tenant reads or writes what is another's, by any operation, with any of its ids."""
    its = house.things[owner]
    await remember(house.clients[owner], its.mark)
    before = await rows_of(stack, its)
    assert all(its.mark in before[name] for name in ("thread", "run", "assistant", "version", "cron", "item"))
    for stranger in TENANTS:
        if stranger == owner:
            continue
        for operation, all_asks in asks(its).items():
            for ask in all_asks:
                answer = await asked(house.clients[stranger], operation, ask)
                told = f"{stranger} asked {operation} {ask.body}: {answer.status_code} {answer.text[:500]}"
                assert answer.status_code in ask.status, told
                sent = json.dumps(ask)
                for known in its.known_to_nobody_else:
                    assert known in sent or known not in answer.text, told
        after = await rows_of(stack, its)
        assert after == before, f"{stranger} changed something"


@pytest.mark.parametrize("owner", TENANTS)
async def test_a_stranger_hears_nothing_over_a_websocket(house: House, owner: str) -> None:
    stranger = next(tenant for tenant in TENANTS if tenant != owner)
    url = f"{house.api.url.replace('http', 'ws')}/threads/{house.things[owner].thread}/stream/events"
    subscribe = (
        '{"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"], "since": 0}}'
    )
    async with connect(url, additional_headers={"x-api-key": house.keys[stranger]}) as socket:
        await socket.send(subscribe)
        answer = str(await socket.recv())
    assert "invalid_argument" in answer
    assert house.things[owner].mark not in answer


@pytest.mark.parametrize("graph", ["visiting", "visiting_from_a_thread"])
async def test_a_graph_reaches_no_checkpoints_of_another_tenant(house: House, graph: str) -> None:
    """By the checkpointer of its run, which takes any thread id."""
    for owner in TENANTS:
        theirs = house.things[owner].thread
        for visitor in TENANTS:
            if visitor == owner:
                continue
            for word in ("", visitor):
                seen = await visited(house, visitor, graph, theirs, word)
                assert house.things[owner].run not in seen["runs"]
                assert seen["ids"] == [theirs]
            assert seen["left"] == {"value": visitor}
        state = (await house.clients[owner].get(f"/threads/{theirs}/state")).json()
        assert state["checkpoint"]["checkpoint_id"] == house.things[owner].checkpoint


@pytest.mark.parametrize("graph", ["visiting", "visiting_from_a_thread"])
async def test_a_graph_keeps_a_memory_of_its_own_under_any_name(house: House, graph: str) -> None:
    """Where two tenants choose the same name, neither finds what the other one has left there."""
    for name in (f"user-{graph}", str(uuid4()), f"acme.example/user-{graph}", f"default/user-{graph}"):
        for tenant in TENANTS:
            seen = await visited(house, tenant, graph, name, tenant)
            assert (seen["found"], seen["left"], seen["ids"]) == ({}, {"value": tenant}, [name])
        for tenant in TENANTS:
            seen = await visited(house, tenant, graph, name)
            assert seen["found"] == {"value": tenant}


async def test_a_thread_does_not_begin_with_what_another_tenant_left_under_its_id(house: House) -> None:
    thread_id = str(uuid4())
    await visited(house, "default", "visiting", thread_id, "left before")
    http = house.clients["acme.example"]
    assert (await http.post("/threads", json={"thread_id": thread_id})).status_code == 200
    assert (await visited(house, "acme.example", "visiting", thread_id))["found"] == {}


@pytest.mark.parametrize("tenant", TENANTS)
async def test_a_graph_reads_other_threads_of_its_tenant(house: House, tenant: str) -> None:
    its = house.things[tenant]
    seen = await visited(house, tenant, "visiting", its.thread)
    assert (seen["runs"], seen["ids"]) == ([its.run], [its.thread])


async def visited(house: House, tenant: str, graph: str, other: str, word: str = "") -> dict[str, Any]:
    """What a run of a tenant tells of another thread."""
    run = {"assistant_id": graph, "input": {"other": other, "word": word}}
    answer = await house.clients[tenant].post("/runs/wait", json=run)
    assert answer.status_code == 200, answer.text
    seen: dict[str, Any] = answer.json()
    assert "ids" in seen, seen
    return seen
