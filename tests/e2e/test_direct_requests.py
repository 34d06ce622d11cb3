"""Runs that are asked for over NATS, by a plain client of it, and what is answered."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.direct import NOBODY, Bus, path, ref
from tests.e2e.steps import new_thread
from tests.stack import Service


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


async def test_who_waits_keeps_nobody_from_being_served(bus: Bus) -> None:
    run, waiting = await bus.begun(100)

    assert (await bus.done("wait", {"assistant_id": "steps", "input": {"text": "a"}}))["text"] == "A!"
    assert (await bus.stats("runs-join"))["in_work"] == 100

    await bus.done("cancel", ref(run))
    answers = await asyncio.gather(*waiting)
    assert {answer.code for answer in answers} == {None}
    assert len({answer.data for answer in answers}) == 1


async def test_what_wants_no_reply_is_not_done(bus: Bus, api: Service, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    body = {"assistant_id": "steps", "thread_id": thread, "input": {"text": "a"}}
    await bus.client.publish("treadle.api.runs.create", json.dumps(body).encode())
    assert await api.logged("a message on treadle.api.runs.create wants no reply")
    assert await client.runs.list(thread) == []
