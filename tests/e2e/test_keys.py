"""API keys: each is of a user in a tenant, with permissions that the server itself keeps to."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import pytest_asyncio
from httpx import AsyncClient

from tests.e2e.auth import asking_as, key_of
from tests.stack import Service, Stack, free_port
from treadle.model import default_assistant_id

NEW_RUN: dict[str, Any] = {"assistant_id": "approval", "input": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(stack: Stack) -> AsyncGenerator[Service]:
    api = await stack.api(TREADLE_API_KEYS="on")
    yield api
    assert await api.stop() == 0


async def asked(client: AsyncClient, method: str, path: str, body: Any = None) -> int:
    return (await client.request(method, path, json=body)).status_code


async def test_a_key_may_do_what_it_is_granted_and_no_more(stack: Stack, api: Service) -> None:
    reader = await key_of(stack, "--tenant", "granted", "--permission", "read")
    runner = await key_of(stack, "--tenant", "granted", "--permission", "read", "--permission", "run")
    answerer = await key_of(stack, "--tenant", "granted", "--permission", "run", "--permission", "resume")
    keeper = await key_of(stack, "--tenant", "granted", "--permission", "update")
    async with (
        asking_as(api, {"x-api-key": runner}) as run,
        asking_as(api, {"x-api-key": reader}) as read,
        asking_as(api, {"authorization": f"Bearer {answerer}"}) as answer,
        asking_as(api, {"x-api-key": keeper}) as keep,
    ):
        thread = (await run.post("/threads", json={})).json()["thread_id"]
        await run.post(f"/threads/{thread}/runs/wait", json=NEW_RUN)
        at, approval = f"/threads/{thread}", {"assistant_id": "approval", "command": {"resume": True}}

        assert await asked(read, "GET", at) == 200
        assert await asked(read, "POST", f"{at}/runs", NEW_RUN) == 403
        assert await asked(read, "POST", "/threads", {}) == 403
        assert await asked(run, "PATCH", at, {"metadata": {"a": 1}}) == 403
        assert await asked(run, "PUT", "/store/items", {"namespace": ["n"], "key": "k", "value": {}}) == 403
        assert await asked(run, "POST", "/assistants", {"graph_id": "steps"}) == 403
        assert await asked(run, "POST", f"{at}/runs/wait", approval) == 403
        assert await asked(answer, "GET", at) == 403
        assert await asked(answer, "POST", f"{at}/runs/wait", approval) == 200
        assert await asked(keep, "PATCH", at, {"metadata": {"a": 1}}) == 200
        assert await asked(keep, "POST", f"{at}/state", {"values": {}}) in (200, 422)
        told = (await read.post("/threads", json={})).json()["detail"]
    assert "needs the permission `run`" in told


async def test_no_tenant_changes_what_all_share(stack: Stack, api: Service) -> None:
    shared = str(default_assistant_id("owned"))
    theirs = await key_of(stack, "--tenant", "sharing", "--permission", "administer", "--permission", "read")
    operators = await key_of(stack, "--permission", "administer", "--permission", "read")
    async with asking_as(api, {"x-api-key": theirs}) as they, asking_as(api, {"x-api-key": operators}) as we:
        assert await asked(they, "GET", f"/assistants/{shared}") == 200
        assert await asked(they, "PATCH", f"/assistants/{shared}", {"name": "theirs"}) == 404
        assert await asked(they, "POST", f"/assistants/{shared}/latest", {"version": 1}) == 404
        assert await asked(we, "PATCH", f"/assistants/{shared}", {"name": "owned"}) == 200


async def test_a_request_without_a_good_key_is_a_401(api: Service) -> None:
    async with asking_as(api, {}) as nobody, asking_as(api, {"x-api-key": "treadle_no_key"}) as stranger:
        assert await asked(nobody, "POST", "/threads", {}) == 401
        answer = await stranger.post("/threads", json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "treadle_no_key" not in answer.text


async def test_nobody_serves_the_whole_network_by_accident(stack: Stack) -> None:
    exposed = await stack.spawn("api", TREADLE_HOST="0.0.0.0", TREADLE_PORT=str(free_port()))
    assert await exposed.exited() == os.EX_CONFIG
    assert "nobody would have to say who asks" in exposed.text

    contradictory = await stack.spawn("api", TREADLE_API_KEYS="on", TREADLE_AUTH="none")
    assert await contradictory.exited() == os.EX_CONFIG
    assert "Take one of the two away" in contradictory.text

    wanted = await stack.api(TREADLE_HOST="0.0.0.0", TREADLE_AUTH="none")
    assert await wanted.stop() == 0
