"""Runs that are asked for over NATS, by a plain client of it: the service `treadle` of the micro-service framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import httpx
import jsonschema
import nats
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.e2e.steps import new_thread
from tests.stack import Service, Stack

ENDPOINTS = ("create", "wait", "get", "join", "cancel")
ASK_SECS = 30.0
LISTENING = "answering requests on treadle.api.>"
NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Answer:
    """What came back: the bytes, and the headers of the framework."""

    data: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def code(self) -> str | None:
        return self.headers.get("Nats-Service-Error-Code")


class Bus:
    """A service inside the house."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, endpoint: str, body: object, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        subject = f"treadle.api.runs.{endpoint}"
        message: Msg = await self.client.request(
            subject, data, timeout=ASK_SECS, headers=cast(Any, headers or None)
        )
        return Answer(message.data, message.headers or {})

    async def done(self, endpoint: str, body: object) -> Any:
        """The answer of a request that works."""
        answer = await self.ask(endpoint, body)
        assert answer.code is None, answer
        return answer.json

    async def refused(self, endpoint: str, body: object) -> Any:
        """The problem of one that does not; the headers say the same as the body."""
        answer = await self.ask(endpoint, body)
        problem = answer.json
        assert answer.code == str(problem["code"])
        assert answer.headers["Nats-Service-Error"] == problem["detail"][:500]
        return problem

    async def control(self, verb: str, answers: int = 1) -> list[Any]:
        """What the instances of the service say of themselves."""
        inbox = self.client.new_inbox()
        replies = await self.client.subscribe(inbox)
        await self.client.publish(f"$SRV.{verb}.treadle", reply=inbox)
        told = [json.loads((await replies.next_msg(timeout=5)).data) for _ in range(answers)]
        await replies.unsubscribe()
        return told


async def connected(stack: Stack) -> Client:
    return await nats.connect(stack.servers.nats.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)


@pytest_asyncio.fixture(loop_scope="session")
async def bus(stack: Stack, api: Service) -> AsyncGenerator[Bus]:
    assert await api.logged(LISTENING)
    client = await connected(stack)
    yield Bus(client)
    await client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def http(api: Service) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, timeout=ASK_SECS) as http:
        yield http


def ref(run: Mapping[str, Any]) -> dict[str, Any]:
    return {"thread_id": run["thread_id"], "run_id": run["run_id"]}


def path(run: Mapping[str, Any]) -> str:
    return f"/threads/{run['thread_id']}/runs/{run['run_id']}"


async def test_a_run_on_a_thread_is_created_joined_and_read_as_over_http(
    bus: Bus, http: httpx.AsyncClient, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    run = await bus.done(
        "create",
        {"assistant_id": "steps", "thread_id": thread, "input": {"text": "ü"}, "metadata": {"by": "bus"}},
    )
    assert (run["thread_id"], run["metadata"]["by"]) == (thread, "bus")

    joined, read = await bus.ask("join", ref(run)), await bus.ask("get", ref(run))

    assert joined.json["text"] == "Ü!"
    assert joined.data == (await http.get(f"{path(run)}/join")).content.strip()
    assert read.json["status"] == "success"
    assert read.data == (await http.get(path(run))).content
    assert read.headers["Content-Location"] == path(run)


async def test_a_stateless_run_is_waited_for(bus: Bus) -> None:
    answer = await bus.ask("wait", {"assistant_id": "steps", "input": {"text": "a"}})
    assert answer.json == {"text": "A!", "steps": ["first", "second"]}
    assert answer.headers["Content-Location"].startswith("/threads/")


async def test_a_run_that_fails_answers_as_over_http(bus: Bus, http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "failing", "input": {"text": "a"}}
    ours, theirs = await bus.ask("wait", body), await http.post("/runs/wait", json=body)
    assert ours.code is None
    assert ours.json["__error__"] == theirs.json()["__error__"]


async def test_a_run_is_cancelled(bus: Bus, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    body = {"assistant_id": "slow", "thread_id": thread, "input": {"delay": 60}}
    kept, dropped = await bus.done("create", body), await bus.done("create", body)

    assert await bus.done("cancel", {**ref(dropped), "action": "rollback"}) == {}
    assert await bus.done("cancel", {**ref(kept), "wait": True}) == {}

    assert (await bus.done("get", ref(kept)))["status"] == "interrupted"
    assert (await bus.refused("get", ref(dropped)))["code"] == 404
    again = await bus.refused("cancel", ref(kept))
    assert (again["code"], again["error"]) == (404, "NotFound")
    assert "has ended already" in again["detail"]


async def test_what_takes_longer_than_the_caller_waits_can_be_asked_for_again(
    bus: Bus, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    late = await bus.refused(
        "wait",
        {"assistant_id": "slow", "thread_id": thread, "input": {"delay": 0.6}, "timeout_secs": 0.2},
    )
    assert (late["code"], late["error"], late["thread_id"]) == (408, "StillRunning", thread)
    assert late["detail"] == "The run is still running after 0.2 seconds: ask again with join."
    again = await bus.refused("join", {**ref(late), "timeout_secs": 0.01})
    assert (again["code"], again["run_id"]) == (408, late["run_id"])
    assert (await bus.done("join", ref(late)))["steps"] == ["before", "slept", "done"]


BODIES: list[object] = [
    b"",
    b"{",
    b"\xff",
    b"null",
    b"[]",
    {},
    {"assistant_id": 1},
    {"assistant_id": "no-such"},
    {"assistant_id": NOBODY},
    {"assistant_id": "steps", "multitask_strategy": "x"},
    {"assistant_id": "steps", "stream_mode": ["x"]},
    {"assistant_id": "steps", "config": {"recursion_limit": 0}},
    {"assistant_id": "steps", "command": {"goto": [{"x": 1}]}},
    {"assistant_id": "steps", "webhook": "http://127.0.0.1/x"},
    {"assistant_id": "steps", "context": {"a": 1}, "config": {"configurable": {"a": 1}}},
]


@pytest.mark.parametrize("body", BODIES, ids=str)
async def test_what_cannot_be_created_is_refused_in_the_words_of_http(
    bus: Bus, http: httpx.AsyncClient, body: object
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    theirs = await http.post("/runs", content=data, headers={"content-type": "application/json"})
    for endpoint in ("create", "wait"):
        problem = await bus.refused(endpoint, data)
        assert (problem["code"], problem["detail"]) == (theirs.status_code, theirs.json()["detail"])
        assert "run_id" not in problem


async def test_what_is_not_there_is_told(bus: Bus, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    nowhere = {"thread_id": thread, "run_id": NOBODY}
    for endpoint in ("get", "join", "cancel"):
        problem = await bus.refused(endpoint, nowhere)
        assert (problem["code"], problem["error"]) == (404, "NotFound")
        assert {key: problem[key] for key in nowhere} == nowhere
        assert NOBODY in problem["detail"]
    missing = await bus.refused("create", {"assistant_id": "steps", "thread_id": str(uuid4())})
    assert (missing["code"], missing["error"]) == (404, "NotFound")
    busy = {"assistant_id": "slow", "thread_id": thread, "input": {"delay": 60}}
    run = await bus.done("create", busy)
    refused = await bus.refused("create", {**busy, "multitask_strategy": "reject"})
    assert (refused["code"], refused["error"]) == (409, "Conflict")
    await bus.done("cancel", ref(run))


@pytest.mark.parametrize(
    ("endpoint", "body", "detail"),
    [
        ("get", {"thread_id": NOBODY}, "body: Object missing required field `run_id`"),
        ("get", {"thread_id": "x", "run_id": NOBODY}, "thread_id: Invalid UUID"),
        ("join", {"thread_id": NOBODY, "run_id": NOBODY, "timeout_secs": 0}, "timeout_secs: Expected `float` > 0.0"),
        (
            "cancel",
            {"thread_id": NOBODY, "run_id": NOBODY, "action": "kill"},
            "action: Invalid enum value 'kill'. Send one of: interrupt, rollback",
        ),
        ("wait", {"assistant_id": "steps", "timeout_secs": "x"}, "timeout_secs: Expected `float | null`, got `str`"),
    ],
)  # fmt: skip
async def test_what_a_request_should_be_is_told(bus: Bus, endpoint: str, body: object, detail: str) -> None:
    problem = await bus.refused(endpoint, body)
    assert problem == {"code": 422, "error": "InvalidRequest", "detail": detail}


async def test_an_answer_that_nats_does_not_let_through_is_read_over_http(
    bus: Bus, http: httpx.AsyncClient
) -> None:
    text = "a" * (bus.client.max_payload - 1000)
    large = await bus.refused("create", {"assistant_id": "steps", "input": {"text": text}})
    assert (large["code"], large["error"]) == (413, "TooLarge")
    assert f"GET {path(large)}." in large["detail"]
    again = await bus.refused("join", ref(large))
    assert f"GET {path(large)}/join." in again["detail"]
    assert (await http.get(f"{path(large)}/join")).json()["text"] == text.upper() + "!"


async def test_tools_of_the_framework_find_the_service(bus: Bus) -> None:
    (ping,) = await bus.control("PING")
    (info,) = await bus.control("INFO")
    before = {each["name"]: each for each in (await bus.control("STATS"))[0]["endpoints"]}
    assert ping["type"] == "io.nats.micro.v1.ping_response"
    assert (info["name"], info["version"], info["id"]) == ("treadle", ping["version"], ping["id"])
    assert [each["subject"] for each in info["endpoints"]] == [
        f"treadle.api.runs.{name}" for name in ENDPOINTS
    ]

    await bus.done("wait", {"assistant_id": "slow", "input": {"delay": 0.2}})
    await bus.refused("wait", {})

    (stats,) = await bus.control("STATS")
    told = {each["name"]: each for each in stats["endpoints"]}["runs-wait"]
    was = before["runs-wait"]
    assert told["num_requests"] - was["num_requests"] == 2
    assert told["num_errors"] - was["num_errors"] == 1
    assert told["processing_time"] - was["processing_time"] > 200_000_000
    assert told["last_error"] == "422:body: Object missing required field `assistant_id`"
    assert told["data"] == {"in_work": 0}


async def test_what_an_endpoint_takes_and_gives_is_told_as_json_schemas(
    bus: Bus, client: LangGraphClient
) -> None:
    (info,) = await bus.control("INFO")
    told = {each["name"]: each["metadata"] for each in info["endpoints"]}
    for metadata in told.values():
        assert metadata["description"]
        for name in ("request_schema", "response_schema"):
            jsonschema.Draft202012Validator.check_schema(json.loads(metadata[name]))

    body = {"assistant_id": "steps", "thread_id": await new_thread(client), "input": {"text": "a"}}
    run = await bus.done("create", body)
    result = await bus.done("join", ref(run))
    exchanges: list[tuple[str, object, object]] = [
        ("runs-create", body, run),
        ("runs-wait", {**body, "timeout_secs": 5}, result),
        ("runs-get", ref(run), run),
        ("runs-join", ref(run), result),
        ("runs-cancel", {**ref(run), "action": "rollback", "wait": True}, {}),
    ]
    for name, request, response in exchanges:
        jsonschema.validate(request, json.loads(told[name]["request_schema"]))
        jsonschema.validate(response, json.loads(told[name]["response_schema"]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"run_id": NOBODY}, json.loads(told["runs-get"]["request_schema"]))


async def test_who_waits_keeps_nobody_from_being_served(bus: Bus, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await bus.done("create", {"assistant_id": "slow", "thread_id": thread, "input": {"delay": 60}})
    waiting = [asyncio.create_task(bus.ask("join", ref(run))) for _ in range(100)]
    await asyncio.sleep(0)

    assert (await bus.done("wait", {"assistant_id": "steps", "input": {"text": "a"}}))["text"] == "A!"
    (stats,) = await bus.control("STATS")
    in_work = {each["name"]: each["data"]["in_work"] for each in stats["endpoints"]}
    assert in_work["runs-join"] == 100

    await bus.done("cancel", ref(run))
    answers = await asyncio.gather(*waiting)
    assert {answer.code for answer in answers} == {None}
    assert len({answer.data for answer in answers}) == 1
