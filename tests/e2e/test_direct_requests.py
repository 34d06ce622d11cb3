"""Runs that are asked for over NATS, by a plain client of it: the service `treadle` of the micro-service framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import asyncpg
import httpx
import jsonschema
import nats
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro.service import (
    INFO_RESPONSE_TYPE,
    PING_RESPONSE_TYPE,
    STATS_RESPONSE_TYPE,
    ServiceInfo,
    ServicePing,
    ServiceStats,
)

from tests.e2e.steps import new_thread
from tests.stack import Service, Stack, running_stack

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

    def __init__(self, client: Client, stack: Stack) -> None:
        self.client = client
        self._stack = stack

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

    async def begun(self, count: int, **body: object) -> tuple[Any, list[asyncio.Task[Answer]]]:
        """A run that goes on, and so many requests that wait for its result."""
        run = await self.done("create", {"assistant_id": "slow", "input": {"delay": 60}, **body})
        waiting = [asyncio.create_task(self.ask("join", ref(run))) for _ in range(count)]
        await asyncio.sleep(0)
        return run, waiting

    async def control(self, verb: str) -> list[Any]:
        """What the instances of the service say of themselves, in the order of their ids."""
        answers = sum(api.running for api in self._stack.services("api"))
        inbox = self.client.new_inbox()
        replies = await self.client.subscribe(inbox)
        await self.client.publish(f"$SRV.{verb}.treadle", reply=inbox)
        told = [json.loads((await replies.next_msg(timeout=ASK_SECS)).data) for _ in range(answers)]
        await replies.unsubscribe()
        return sorted(told, key=lambda each: each["id"])

    async def stats(self, endpoint: str) -> dict[str, Any]:
        """What all instances have counted on an endpoint, together."""
        told = [
            each
            for one in await self.control("STATS")
            for each in one["endpoints"]
            if each["name"] == endpoint
        ]
        counted = ("num_requests", "num_errors", "processing_time")
        sums: dict[str, Any] = {name: sum(each[name] for each in told) for name in counted}
        return {
            **sums,
            "in_work": sum(each["data"]["in_work"] for each in told),
            "last_errors": {each["last_error"] for each in told},
        }


async def connected(stack: Stack) -> Client:
    return await nats.connect(stack.servers.nats.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)


@pytest_asyncio.fixture(loop_scope="session")
async def bus(stack: Stack, api: Service) -> AsyncGenerator[Bus]:
    for each in stack.services("api"):
        assert not each.running or await each.logged(LISTENING)
    client = await connected(stack)
    yield Bus(client, stack)
    await client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair() -> AsyncGenerator[Stack]:
    """Two API processes that share the requests; each takes thirty at a time."""
    async with running_stack("api", "api", "worker", TREADLE_NATS_MAX_REQUESTS="30") as stack:
        for api in stack.services("api"):
            assert await api.logged(LISTENING)
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def pair_bus(pair: Stack) -> AsyncGenerator[Bus]:
    client = await connected(pair)
    yield Bus(client, pair)
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
        "wait", {"assistant_id": "slow", "thread_id": thread, "input": {"delay": 60}, "timeout_secs": 0.2}
    )
    assert (late["code"], late["error"], late["thread_id"]) == (408, "StillRunning", thread)
    assert late["detail"] == "The run is still running after 0.2 seconds: ask again with join."
    again = await bus.refused("join", {**ref(late), "timeout_secs": 0.01})
    assert (again["code"], again["run_id"]) == (408, late["run_id"])
    unfinished = await bus.refused("cancel", {**ref(late), "wait": True, "timeout_secs": 1e-9})
    assert (unfinished["code"], unfinished["run_id"]) == (408, late["run_id"])
    assert await bus.done("join", ref(late)) is not None


async def test_a_request_that_is_named_makes_one_run(bus: Bus, client: LangGraphClient) -> None:
    thread, name = await new_thread(client), {"Nats-Msg-Id": str(uuid4())}
    body = {"assistant_id": "steps", "thread_id": thread, "input": {"text": "a"}}
    answers = await asyncio.gather(*(bus.ask("create", body, **name) for _ in range(5)))
    [run] = await client.runs.list(thread)
    assert {answer.json["run_id"] for answer in answers} == {run["run_id"]}

    waited = await bus.ask("wait", {**body, "assistant_id": NOBODY}, **name)
    assert waited.json["text"] == "A!"
    assert waited.headers["Content-Location"] == path(run)

    await client.runs.delete(thread, run["run_id"])
    gone = (await bus.ask("create", body, **name)).json
    assert (gone["code"], gone["run_id"]) == (404, run["run_id"])
    assert "another id" in gone["detail"]
    assert (await bus.ask("wait", body, **name)).code == "404"
    assert await client.runs.list(thread) == []
    unusable = (await bus.ask("create", body, **{"Nats-Msg-Id": "a" * 513})).json
    assert (unusable["code"], unusable["detail"][:12]) == (422, "Nats-Msg-Id:")


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
    pings, infos = await bus.control("PING"), await bus.control("INFO")
    before = await bus.stats("runs-wait")
    # As the framework itself reads them; its command line wants every `data` to be an object.
    for ping, info in zip(pings, infos, strict=True):
        assert ServicePing.from_dict(ping).type == PING_RESPONSE_TYPE
        assert ServiceInfo.from_dict(info).type == INFO_RESPONSE_TYPE
        assert (info["name"], info["version"], info["id"]) == ("treadle", ping["version"], ping["id"])
        assert [each["subject"] for each in info["endpoints"]] == [
            f"treadle.api.runs.{name}" for name in ENDPOINTS
        ]

    await bus.done("wait", {"assistant_id": "slow", "input": {"delay": 0.2}})
    await bus.refused("wait", {})

    for each in await bus.control("STATS"):
        assert ServiceStats.from_dict(each).type == STATS_RESPONSE_TYPE
    after = await bus.stats("runs-wait")
    assert after["num_requests"] - before["num_requests"] == 2
    assert after["num_errors"] - before["num_errors"] == 1
    assert after["processing_time"] - before["processing_time"] > 200_000_000
    assert "422:body: Object missing required field `assistant_id`" in after["last_errors"]
    assert after["in_work"] == 0


async def test_what_an_endpoint_takes_and_gives_is_told_as_json_schemas(
    bus: Bus, client: LangGraphClient
) -> None:
    info, *_ = await bus.control("INFO")
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


async def test_who_waits_keeps_nobody_from_being_served(bus: Bus) -> None:
    run, waiting = await bus.begun(100)

    assert (await bus.done("wait", {"assistant_id": "steps", "input": {"text": "a"}}))["text"] == "A!"
    assert (await bus.stats("runs-join"))["in_work"] == 100

    await bus.done("cancel", ref(run))
    answers = await asyncio.gather(*waiting)
    assert {answer.code for answer in answers} == {None}
    assert len({answer.data for answer in answers}) == 1


def in_work(stats: Mapping[str, Any]) -> dict[str, int]:
    return {each["name"]: each["data"]["in_work"] for each in stats["endpoints"]}


def requests(stats: Mapping[str, Any]) -> int:
    return sum(each["num_requests"] for each in stats["endpoints"])


async def test_what_wants_no_reply_is_not_done(bus: Bus, api: Service, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    body = {"assistant_id": "steps", "thread_id": thread, "input": {"text": "a"}}
    await bus.client.publish("treadle.api.runs.create", json.dumps(body).encode())
    assert await api.logged("a message on treadle.api.runs.create wants no reply")
    assert await client.runs.list(thread) == []


async def test_long_errors_leave_room_for_the_stats(bus: Bus) -> None:
    configurable = {"langgraph_auth_" + "x" * 600_000: 1}
    for endpoint in ("create", "wait"):
        body = {"assistant_id": "steps", "config": {"configurable": configurable}}
        assert (await bus.refused(endpoint, body))["code"] == 422
    assert await bus.control("STATS")


async def test_requests_are_counted_and_timed(bus: Bus, http: httpx.AsyncClient) -> None:
    await bus.refused("get", {})
    metrics = (await http.get("/metrics")).text
    assert 'treadle_direct_request_duration_seconds_count{code="422",endpoint="runs.get"}' in metrics


async def test_two_api_processes_share_the_requests(pair_bus: Bus) -> None:
    before = await pair_bus.control("STATS")
    assert len({each["id"] for each in before}) == 2
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    answers = await asyncio.gather(*(pair_bus.ask("create", body) for _ in range(40)))

    after = await pair_bus.control("STATS")

    assert len({answer.json["run_id"] for answer in answers}) == 40
    was = {each["id"]: requests(each) for each in before}
    taken = [requests(each) - was[each["id"]] for each in after]
    assert sum(taken) == 40
    assert min(taken) > 0


async def test_more_requests_than_a_process_takes_are_sent_away(pair: Stack, pair_bus: Bus) -> None:
    run, waiting = await pair_bus.begun(180)
    sent_away = [
        await answered for _, answered in zip(range(120), asyncio.as_completed(waiting), strict=False)
    ]

    problems = [answer.json for answer in sent_away]
    assert {(problem["code"], problem["error"]) for problem in problems} == {(503, "Unavailable")}
    assert "at work on 30 requests" in problems[0]["detail"]
    assert [in_work(each)["runs-join"] for each in await pair_bus.control("STATS")] == [30, 30]

    # HTTP has room.
    await pair.services("api")[0].client.runs.cancel(run["thread_id"], run["run_id"])
    answers = await asyncio.gather(*waiting)
    assert [answer.code for answer in answers].count(None) == 60


async def test_who_waits_at_a_process_that_stops_is_sent_on(pair: Stack, pair_bus: Bus) -> None:
    others = {each["id"] for each in await pair_bus.control("PING")}
    third = await pair.api()
    assert await third.logged(LISTENING)
    run, waiting = await pair_bus.begun(30)
    held = {each["id"]: in_work(each)["runs-join"] for each in await pair_bus.control("STATS")}
    assert sum(held.values()) == 30
    [leaving] = held.keys() - others

    assert await third.stop() == 0

    ended = zip(range(held[leaving]), asyncio.as_completed(waiting), strict=False)
    problems = [(await answer).json for _, answer in ended]
    assert {(problem["code"], problem["error"]) for problem in problems} == {(503, "Unavailable")}
    assert {problem["run_id"] for problem in problems} == {run["run_id"]}
    assert "ask again with join" in problems[0]["detail"]
    again = [asyncio.create_task(pair_bus.ask("join", ref(run))) for _ in problems]
    await pair_bus.done("cancel", ref(run))
    answers = await asyncio.gather(*again, *waiting)
    assert [answer.code for answer in answers].count(None) == 30


async def test_the_service_is_back_when_nats_is(pair: Stack, pair_bus: Bus) -> None:
    apis = [api for api in pair.services("api") if api.running]
    await pair.servers.nats.stop()
    await pair.servers.nats.start()
    for api in apis:
        assert await api.logged("connection to NATS is back")

    assert len({each["id"] for each in await pair_bus.control("PING")}) == len(apis)
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    assert (await pair_bus.done("wait", body))["text"] == "A!"


async def test_without_postgres_requests_are_refused_as_over_http(pair: Stack, pair_bus: Bus) -> None:
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    await pair.servers.postgres.stop()
    try:
        problem = await pair_bus.refused("create", body)
        async with httpx.AsyncClient(base_url=pair.services("api")[0].url, timeout=ASK_SECS) as http:
            theirs = await http.post("/runs", json=body)
    finally:
        await pair.servers.postgres.start()
    assert (problem["code"], problem["error"]) == (503, "Unavailable")
    assert theirs.status_code == 503
    assert problem["detail"].startswith("Postgres could not be reached while creating a run")
    assert (await pair_bus.done("create", body))["status"] == "pending"


async def test_a_defect_shows_its_traceback_in_the_log_only(pair: Stack, pair_bus: Bus) -> None:
    postgres = await asyncpg.connect(pair.servers.postgres.url)
    await postgres.execute("alter table treadle.run rename to run_elsewhere")
    try:
        problem = await pair_bus.refused("get", {"thread_id": NOBODY, "run_id": NOBODY})
    finally:
        await postgres.execute("alter table treadle.run_elsewhere rename to run")
        await postgres.close()
    assert (problem["code"], problem["error"]) == (500, "InternalServerError")
    assert problem["detail"] == "Internal server error; the server's log says more."
    logs = "\n".join(api.text for api in pair.services("api"))
    assert "runs.get over NATS failed" in logs
    assert "UndefinedTableError" in logs


async def test_an_api_that_is_told_so_answers_over_http_only(pair: Stack, pair_bus: Bus) -> None:
    silent = await pair.api(TREADLE_NATS_API="off")
    async with httpx.AsyncClient(base_url=silent.url) as http:
        assert (await http.get("/ok")).status_code == 200
    assert await silent.stop() == 0
    assert LISTENING not in silent.text
