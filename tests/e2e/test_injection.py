"""Ids and names that mean something to a server behind the API: they reach none, and are refused with a reason."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from httpx import AsyncClient
from langgraph._internal import _constants

from tests.e2e.auth import asking_as, everything, guarded, key_of
from tests.e2e.tenancy import Ask, Things, asks
from tests.stack import Service, Stack

TENANT = "inject"
PLACE = "in-the-place-of-an-id"
ODD = {
    "dots": "a.b.c",
    "up": "../../threads",
    "star": "*",
    "rest": ">",
    "subject": "treadle.runs.default.>",
    "space": " a b ",
    "nul": "a\x00b",
    "lines": "a\r\nx-api-key: b",
    "quote": "' or 1=1; --",
    "pattern": "%_%",
    "braces": "{}{0}${x}",
    "unicode": "ÅÅ😀",
    "backwards": "a\u202eb",
    "half": "\ud800",
    "long": "a" * 5000,
    "almost": "00000000-0000-0000-0000-00000000000g",
    "number": "1e400",
}
COUNTS = """
select (select count(*) from treadle.thread where tenant = $1), (select count(*) from treadle.assistant where tenant = $1),
       (select count(*) from treadle.cron where tenant = $1)
"""
# Of each other, and of what separates names in subjects, keys, namespaces and patterns.
NAMES = ("a.b", "a_b", "a/b", "a b", "a*", "a>", "a%", "a:b", "a{b}", "\u00c5", "A\u030a", "'; --", "treadle-tenant", "..", "😀")  # fmt: skip
REFUSED = ("a\u202eb", "a" * 129, "a\tb", "\u00a0")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(stack: Stack) -> AsyncGenerator[Service]:
    api = await stack.api(TREADLE_API_KEYS="on")
    yield api
    assert await api.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def client(stack: Stack, api: Service) -> AsyncGenerator[AsyncClient]:
    key = await key_of(stack, "--tenant", TENANT, *everything())
    async with asking_as(api, {"x-api-key": key}) as client:
        yield client


def with_odd(ask: Ask, odd: str) -> Ask:
    """The same request with an odd value where it names anything."""
    body = json.dumps(ask.body).replace(PLACE, json.dumps(odd)[1:-1])
    in_url = quote(odd.encode("utf-8", "surrogatepass"), safe="")
    query = {
        name: value.replace(PLACE, odd.encode("utf-8", "replace").decode())
        for name, value in ask.query.items()
    }
    return ask._replace(path=ask.path.replace(PLACE, in_url), body=json.loads(body), query=query)


async def sent(client: AsyncClient, operation: str, ask: Ask) -> tuple[int, str]:
    # As ASCII: httpx cannot write a half surrogate, and other clients do.
    content = None if ask.body is None else json.dumps(ask.body).encode()
    method = operation.split(maxsplit=1)[0]
    headers = {"content-type": "application/json"}
    answer = await client.request(
        method, ask.path, content=content, params=ask.query or None, headers=headers
    )
    return answer.status_code, answer.text


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_no_id_is_more_than_an_id(stack: Stack, client: AsyncClient, odd: str) -> None:
    """Every operation that is described, with the odd value in the place of each id that it takes."""
    async with stack.database() as database:
        before = tuple(await database.fetchrow(COUNTS, TENANT) or ())
        for operation, all_asks in asks(Things(*[PLACE] * len(Things._fields))).items():
            for ask in all_asks:
                if PLACE not in json.dumps(ask):
                    continue
                status, text = await sent(client, operation, with_odd(ask, odd))
                told = f"{operation} {ask.path} {ask.body}: {status} {text[:300]}"
                assert status < 500, told
                if PLACE in ask.path:
                    assert 400 <= status < 500, told
                    assert text, told
        assert tuple(await database.fetchrow(COUNTS, TENANT) or ()) == before
    assert (await client.get("/ok")).status_code == 200


async def test_tenants_with_similar_names_are_apart(stack: Stack, tmp_path: Path) -> None:
    item: dict[str, Any] = {"namespace": ["notes"], "key": "one"}
    async with guarded(stack, tmp_path) as api, AsyncExitStack() as opened:
        clients = {name: await opened.enter_async_context(as_tenant(api, name)) for name in NAMES}
        threads: dict[str, str] = {}
        for name, client in clients.items():
            thread = await client.post("/threads", json={"metadata": {"name": name}})
            assert thread.status_code == 200, (name, thread.text)
            threads[name] = thread.json()["thread_id"]
            put = await client.put("/store/items", json={**item, "value": {"name": name}})
            assert put.status_code == 204, (name, put.text)
        for name, client in clients.items():
            found = (await client.post("/threads/search", json={"limit": 1000})).json()
            assert [each["thread_id"] for each in found] == [threads[name]]
            query = {"namespace": "notes", "key": "one"}
            kept = (await client.get("/store/items", params=query)).json()
            assert kept["value"] == {"name": name}
            all_kept = (await client.post("/store/items/search", json={"namespace_prefix": []})).json()
            assert [each["value"] for each in all_kept["items"]] == [{"name": name}]
        for one, other in permutations(NAMES, 2):
            assert (await clients[one].get(f"/threads/{threads[other]}")).status_code == 404


@pytest.mark.parametrize("name", REFUSED, ids=["backwards", "long", "tab", "no-break space"])
async def test_what_is_no_name_of_a_tenant_is_refused(stack: Stack, tmp_path: Path, name: str) -> None:
    async with guarded(stack, tmp_path) as api, as_tenant(api, name) as client:
        answer = await client.post("/threads", json={})
    assert answer.status_code == 401
    assert "printable" in answer.text


@pytest.mark.parametrize("value", [None, True, False, 0, "exit", {}, {"a": 1}, ["a"]], ids=str)
async def test_what_langgraph_tells_itself_is_not_for_a_client_to_say(
    client: AsyncClient, value: Any
) -> None:
    """Else a request could have its run go without checkpoints, or as part of another graph that is not there."""
    names = [name for name in vars(_constants).values() if str(name).startswith("__pregel_")]
    assert "__pregel_checkpointer" in names
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    config = {"configurable": {"mine": 1, **dict.fromkeys(names, value)}}
    run = {"assistant_id": "seen", "input": {}, "config": config}
    answer = await client.post(f"/threads/{thread}/runs/wait", json=run)
    assert answer.status_code == 200, answer.text
    assert "__error__" not in answer.json(), answer.text
    state = (await client.get(f"/threads/{thread}/state")).json()
    assert state["values"] == answer.json()
    assert state["checkpoint"]["checkpoint_id"]


def as_tenant(api: Service, tenant: str) -> Any:
    """A user of a tenant whose name goes as UTF-8, as the `Auth` of the tests reads it."""
    return asking_as(api, {b"authorization": b"Bearer ada", b"x-tenant": tenant.encode()})
