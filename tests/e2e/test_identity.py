"""Who asks for a run over NATS: proved by a signed header, told to the graph, never taken from the body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import uuid4

import pytest
import pytest_asyncio
from langgraph_sdk.errors import NotFoundError
from nats.aio.client import Client

from tests.e2e.bus import LISTENING, bus
from tests.stack import Service, Stack, running_stack
from treadle.identity import HEADER, sign

OLD, NEW = "old-" + "k" * 40, "new-" + "k" * 40
ASKED_BY_ADA: dict[str, Any] = {"identity": "ada", "tenant": "acme", "is_user": True}
ADA: dict[str, Any] = {
    "identity": "ada",
    "display_name": "ada",
    "is_authenticated": True,
    "permissions": [],
    "tenant": "acme",
}


NEW_RUN: dict[str, Any] = {"assistant_id": "asked", "input": {}}


class Asker:
    """A service inside the house that signs what it sends."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, endpoint: str, asked: object, **signed: Any) -> Any:
        """The answer as JSON; errors are JSON as well, with their `code`.

        Args:
            signed: what the header says otherwise than it should; `token`: the header itself, None: there is none.
        """
        data, subject = json.dumps(asked).encode(), f"treadle.api.runs.{endpoint}"
        made: dict[str, Any] = {"user": "ada", "tenant": "acme", "subject": subject, "body": data, **signed}
        token = made.pop("token") if "token" in made else sign(made.pop("key", NEW), **made)
        headers = {HEADER: token} if token else None
        return json.loads((await self.client.request(subject, data, timeout=30, headers=headers)).data)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house() -> AsyncGenerator[Stack]:
    """A Treadle that takes no request over NATS from nobody."""
    settings = {"TREADLE_IDENTITY_SECRET": f"{NEW} {OLD}", "TREADLE_IDENTITY_REQUIRED": "yes"}
    async with running_stack("api", "worker", "scheduler", **settings) as stack:
        assert await stack.services("api")[0].logged(LISTENING)
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def asker(house: Stack) -> AsyncGenerator[Asker]:
    async with bus(house) as client:
        yield Asker(client)


async def test_a_graph_knows_who_asked_over_nats(asker: Asker, house: Stack) -> None:
    values = await asker.ask("wait", {"assistant_id": "asked", "input": {}})

    assert {key: values[key] for key in ASKED_BY_ADA} == ASKED_BY_ADA
    assert values["config"] == {
        "langgraph_auth_user": ADA,
        "langgraph_auth_user_id": "ada",
        "langgraph_auth_permissions": [],
    }


async def test_a_run_shows_who_asked_and_not_how_that_was_proved(asker: Asker, house: Stack) -> None:
    thread = str(uuid4())
    body = {**NEW_RUN, "thread_id": thread, "if_not_exists": "create"}
    run = await asker.ask("create", body)
    shown = await asker.ask("get", {"thread_id": thread, "run_id": run["run_id"]})

    assert run["kwargs"]["config"]["configurable"]["langgraph_auth_user"] == ADA
    assert "authenticated" not in run["kwargs"]
    assert "eyJ" not in json.dumps([run, shown])
    assert "eyJ" not in house.services("api")[0].text
    ref = {"thread_id": thread, "run_id": run["run_id"]}
    assert (await asker.ask("join", ref))["identity"] == "ada"
    assert (await asker.ask("get", ref))["status"] == "success"


async def test_a_key_that_is_being_replaced_still_signs(asker: Asker) -> None:
    values = await asker.ask("wait", {"assistant_id": "asked", "input": {}}, key=OLD, tenant=None)

    assert (values["identity"], values["tenant"]) == ("ada", "default")


async def test_what_belongs_to_a_tenant_is_there_for_nobody_else(asker: Asker, house: Stack) -> None:
    thread = str(uuid4())
    body = {**NEW_RUN, "thread_id": thread, "if_not_exists": "create"}
    run = await asker.ask("create", body)
    ref = {"thread_id": thread, "run_id": run["run_id"]}

    for endpoint in ("get", "join", "cancel"):
        assert (await asker.ask(endpoint, ref, tenant="other"))["code"] == 404, endpoint
        assert (await asker.ask(endpoint, ref, tenant=None))["code"] == 404, endpoint
    assert (await asker.ask("create", body, tenant="other"))["code"] == 404
    with pytest.raises(NotFoundError):
        await house.services("api")[0].client.runs.get(thread, run["run_id"])
    assert (await asker.ask("join", ref))["identity"] == "ada"


@pytest.mark.parametrize("endpoint", ["create", "wait", "get", "join", "cancel"])
async def test_every_endpoint_refuses_who_does_not_say_who_asks(asker: Asker, endpoint: str) -> None:
    problem = await asker.ask(endpoint, {}, token=None)

    assert (problem["code"], problem["error"]) == (401, "Unauthorized")
    assert "takes no request without the header `Treadle-Identity`" in problem["detail"]


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        ({"key": "x" * 40}, "signed with another key"),
        ({"subject": "treadle.api.runs.get"}, "another subject than treadle.api.runs.cancel"),
        ({"body": b"{}"}, "another body"),
        ({"lifetime_secs": 7200}, "by 3600 s at the most"),
        ({"token": "nonsense"}, "no token that HS256 has signed"),
        ({"message_id": "7"}, "another `Nats-Msg-Id`"),
    ],
)
async def test_a_header_that_proves_nothing_is_refused(
    asker: Asker, signed: dict[str, Any], why: str
) -> None:
    problem = await asker.ask("cancel", {"thread_id": "0", "run_id": "1"}, **signed)

    assert (problem["code"], problem["error"]) == (401, "Unauthorized")
    assert why in problem["detail"]


@pytest.mark.parametrize("place", ["context", "metadata", "config"])
async def test_a_body_may_not_say_who_asks(asker: Asker, place: str) -> None:
    claimed = {"langgraph_auth_user_id": "root"}
    body = {place: {"configurable": claimed} if place == "config" else claimed}

    problem = await asker.ask("create", {"assistant_id": "asked", "input": {}, **body})

    assert (problem["code"], problem["error"]) == (422, "InvalidRequest")
    assert "langgraph_auth_user_id: who asks is not said in the body" in problem["detail"]


async def test_http_does_not_make_a_user_of_what_a_body_says(house: Stack) -> None:
    """The keys reach the graph's config as they were sent; langgraph is told of no user."""
    claimed = {"langgraph_auth_user": ADA}
    client = house.services("api")[0].client
    values = cast(
        "dict[str, Any]",
        await client.runs.wait(None, "asked", input={}, config={"configurable": claimed}),
    )

    assert (values["identity"], values["is_user"]) == (None, False)
    assert values["config"] == claimed


async def test_a_header_that_nobody_can_verify_is_refused(stack: Stack, api: Service) -> None:
    assert await api.logged(LISTENING)
    async with bus(stack) as client:
        problem = await Asker(client).ask("create", {"assistant_id": "asked", "input": {}})
        nameless = await Asker(client).ask("wait", {"assistant_id": "asked", "input": {}}, token=None)

    assert problem["code"] == 401
    assert "set TREADLE_IDENTITY_SECRET" in problem["detail"]
    assert (nameless["identity"], nameless["config"]) == (None, {})


async def test_a_key_that_cannot_be_used_stops_the_start_and_is_not_shown(stack: Stack) -> None:
    refused = await stack.spawn("api", TREADLE_IDENTITY_SECRET="too-short")
    async with asyncio.timeout(30):
        assert await refused.ended() == 78

    assert "TREADLE_IDENTITY_SECRET cannot be used: key 1 in it has 9 bytes" in refused.text
    assert "too-short" not in refused.text
