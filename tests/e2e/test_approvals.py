"""Approvals: who may answer which question, and the record of who did."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from httpx import HTTPStatusError
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.e2e.test_cli_run import Cli, ended
from tests.stack import Stack, running_stack
from treadle.client import RunRequest, connect
from treadle.errors import Forbidden
from treadle.wire.runs import Command

KEY = "k" * 48
GRAPHS = """
from typing import Annotated, TypedDict
import operator
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from langgraph_sdk import Auth

class State(TypedDict, total=False):
    kinds: list[str]
    said: Annotated[list, operator.add]

def asks(place):
    def ask(state):
        kind = state["kinds"][place] if place < len(state["kinds"]) else None
        return {"said": [interrupt({"type": kind})] if kind else []}
    return ask

def make(parallel):
    builder = StateGraph(State).add_node("one", asks(0)).add_node("two", asks(1)).add_edge(START, "one")
    return builder.add_edge(START if parallel else "one", "two").compile()

refunds, both = make(False), make(True)
auth = Auth()

@auth.authenticate
async def authenticate(authorization: str | None, headers: dict):
    name, _, roles = (authorization or "").removeprefix("Bearer ").partition(":")
    return {"identity": name, "permissions": [], "roles": roles.split(","), "tenant": headers.get(b"x-tenant", b"default").decode()}
"""
RULES: list[dict[str, Any]] = [
    {"graphs": ["refunds", "both"], "interrupts": ["transfer"], "roles": ["finance"], "owner": False},
    {"interrupts": ["note"], "users": ["ada", "fred"]},
    {"interrupts": ["note"], "tenants": ["trusted"]},
    {"interrupts": ["mine"], "owner": True},
]
AUDIT = "select * from treadle.audit where thread_id = $1 order by id"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    folder = tmp_path_factory.mktemp("approvals")
    (folder / "served.py").write_text(GRAPHS, encoding="utf-8")
    config = {
        "graphs": {name: f"./served.py:{name}" for name in ("refunds", "both")},
        "auth": {"path": "./served.py:auth"},
        "approvals": RULES,
    }
    (folder / "langgraph.json").write_text(json.dumps(config), encoding="utf-8")
    settings = {"LANGGRAPH_CONFIG": str(folder / "langgraph.json"), "TREADLE_IDENTITY_SECRET": KEY}
    async with running_stack("api", "worker", "scheduler", **settings) as stack:
        yield stack


def as_user(house: Stack, name: str, *roles: str, tenant: str = "default") -> LangGraphClient:
    [api] = house.services("api")
    token = f"Bearer {name}:{','.join(roles)}"
    return get_client(url=api.url, headers={"authorization": token, "x-tenant": tenant})


async def stopped(client: LangGraphClient, *kinds: str, graph: str = "refunds") -> str:
    """A thread that asks these questions, one after the other or (graph `both`) at the same time."""
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, graph, input={"kinds": list(kinds)})
    return thread


async def waits(client: LangGraphClient, thread: str) -> dict[str, str]:
    """The types of the questions that wait on a thread, and their ids."""
    found = (await client.threads.get(thread))["interrupts"]
    return {each["value"]["type"]: each["id"] for of_task in found.values() for each in of_task}


async def answer(client: LangGraphClient, thread: str, given: Any = "yes", graph: str = "refunds") -> Any:
    return cast("Any", await client.runs.wait(thread, graph, command={"resume": given}))


async def audit(house: Stack, thread: str) -> list[tuple[str, str | None, Any]]:
    """What is recorded of a thread: action, who, answer."""
    connection = await asyncpg.connect(house.servers.postgres.url)
    try:
        rows = await connection.fetch(AUDIT, thread)
    finally:
        await connection.close()
    return [(row["action"], row["identity"], json.loads(row["answer"])) for row in rows]


async def test_an_answer_takes_the_role_and_another_one_than_the_owner(house: Stack) -> None:
    ada, fred = as_user(house, "ada", "finance"), as_user(house, "fred", "sales", "finance")
    thread = await stopped(ada, "transfer")
    for refused in (ada, as_user(house, "bob", "sales")):
        with pytest.raises(HTTPStatusError, match="403"):
            await answer(refused, thread)
    assert await waits(ada, thread)
    assert (await answer(fred, thread, {"amount": 3}))["said"] == [{"amount": 3}]
    recorded = await audit(house, thread)
    assert [(action, who) for action, who, _ in recorded] == [
        ("refused", "ada"),
        ("refused", "bob"),
        ("answered", "fred"),
    ]
    assert recorded[-1][2]["resume"] == {"amount": 3}


async def test_one_of_several_rules_is_enough_and_what_no_rule_is_about_is_open(house: Stack) -> None:
    bob = as_user(house, "bob")
    thread = await stopped(bob, "other", "note")
    await answer(bob, thread)
    with pytest.raises(HTTPStatusError, match="403"):
        await answer(bob, thread)
    await answer(as_user(house, "ada"), thread)
    trusted = as_user(house, "bob", tenant="trusted")
    await answer(trusted, await stopped(trusted, "note"))


async def test_what_only_the_owner_may_answer(house: Stack) -> None:
    eve, bob = as_user(house, "eve"), as_user(house, "bob")
    thread = await stopped(eve, "mine")
    with pytest.raises(HTTPStatusError, match="403"):
        await answer(bob, thread)
    copied = (await _copied(bob, thread))["thread_id"]
    with pytest.raises(HTTPStatusError, match="403"):
        await answer(bob, copied)
    await answer(eve, thread)
    run = await eve.runs.create(None, "refunds", input={"kinds": ["mine"]}, on_completion="keep")
    await eve.runs.join(run["thread_id"], run["run_id"])
    await answer(eve, run["thread_id"])


async def _copied(client: LangGraphClient, thread: str) -> Any:
    return await client.threads.copy(thread)


async def test_of_two_questions_each_is_asked_of_who_may(house: Stack) -> None:
    ada, fred = as_user(house, "ada"), as_user(house, "fred", "finance")
    thread = await stopped(ada, "transfer", "note", graph="both")
    ids = await waits(ada, thread)
    with pytest.raises(HTTPStatusError):
        await answer(ada, thread, {ids["note"]: 1, ids["transfer"]: 1}, graph="both")
    await answer(ada, thread, {ids["note"]: 1}, graph="both")
    assert set(await waits(ada, thread)) == {"transfer"}
    await answer(fred, thread, {ids["transfer"]: 2}, graph="both")
    assert await waits(ada, thread) == {}


async def test_no_other_way_leads_past_a_question(house: Stack) -> None:
    ada = as_user(house, "ada")
    thread = await stopped(ada, "transfer")
    with pytest.raises(HTTPStatusError):
        await ada.runs.wait(thread, "refunds", command={"goto": "two"})
    with pytest.raises(HTTPStatusError):
        await ada.runs.wait(thread, "refunds", command={"update": {"said": ["yes"]}})
    with pytest.raises(HTTPStatusError):
        await ada.threads.update_state(thread, {"said": ["yes"]}, as_node="one")
    with pytest.raises(HTTPStatusError):  # a graph that no rule names is no way around either
        await ada.runs.wait(thread, "both", command={"resume": "yes"})
    assert set(await waits(ada, thread)) == {"transfer"}
    fred = as_user(house, "fred", "finance")
    await fred.threads.update_state(thread, {"said": ["yes"]}, as_node="one")
    assert [(action, who) for action, who, _ in await audit(house, thread)][-1] == ("updated", "fred")


async def test_an_answer_that_meets_another_question_is_not_given(house: Stack) -> None:
    """It was accepted while a question waited that its sender may answer, and came behind a run that asks another one."""
    ada, bob = as_user(house, "ada"), as_user(house, "bob")
    thread = await stopped(bob, "other")
    [worker] = house.services("worker")
    worker.pause()
    try:
        await bob.runs.create(thread, "refunds", input={"kinds": ["note"]}, multitask_strategy="enqueue")
        late = await bob.runs.create(thread, "refunds", command={"resume": 2}, multitask_strategy="enqueue")
    finally:
        worker.resume()
    told = cast("Any", await bob.runs.join(thread, late["run_id"]))
    assert "note" in json.dumps(told)
    assert (await bob.runs.get(thread, late["run_id"]))["status"] == "error"
    assert set(await waits(bob, thread)) == {"note"}
    assert (await bob.threads.get(thread))["status"] == "interrupted"
    assert (await answer(ada, thread, 3))["said"] == [3]


async def test_answers_over_nats_are_no_others(house: Stack) -> None:
    ada = as_user(house, "ada")
    thread = await stopped(ada, "note")
    async with connect(house.servers.nats.url, key=KEY) as client:
        request = RunRequest(thread_id=UUID(thread), assistant_id="refunds", command=Command(resume="yes"))
        with pytest.raises(Forbidden, match="note"):
            await client.acting_for("bob").wait(request)
        await client.acting_for("fred").wait(request)
    assert [(action, who) for action, who, _ in await audit(house, thread)] == [
        ("refused", "bob"),
        ("answered", "fred"),
    ]


async def test_the_command_line_lists_who_answered(house: Stack) -> None:
    name = f"user-{uuid4()}"
    client = as_user(house, name)
    thread = await stopped(client, "other")
    await answer(client, thread, "because")
    environ = {"DATABASE_URI": house.servers.postgres.url, "NATS_URL": "", "REDIS_URI": ""}

    async def told(*options: str) -> str:
        return (await ended(await Cli("").start("audit", "list", *options, environ=environ))).out

    [record] = [json.loads(line) for line in (await told("--user", name, "--json")).splitlines()]
    assert record["thread_id"] == thread
    assert record["answer"]["resume"] == "because"
    [question] = [each for of_task in record["questions"].values() for each in of_task]
    assert question["value"] == {"type": "other"}
    assert thread in await told("--thread", thread, "--since", "1h", "--tenant", "default")
    assert await told("--user", name, "--tenant", "nobody") == ""


async def test_answers_that_a_remote_graph_passes_on_are_answers(house: Stack) -> None:
    """It says them in its config, where anybody can."""
    ada, fred = as_user(house, "ada"), as_user(house, "fred", "finance")
    thread = await stopped(ada, "transfer")
    question = (await waits(ada, thread))["transfer"]
    said: Any = {"configurable": {"__pregel_resuming": True, "__pregel_resume_map": {question: "yes"}}}
    with pytest.raises(HTTPStatusError) as refused:
        await ada.runs.wait(thread, "refunds", input={"kinds": ["transfer"]}, config=said)
    assert refused.value.response.status_code == 403
    assert "transfer" in await waits(ada, thread)
    await fred.runs.wait(thread, "refunds", input={"kinds": ["transfer"]}, config=said)
    state = await fred.threads.get_state(thread)
    assert cast("Any", state["values"])["said"] == ["yes"]
    assert await audit(house, thread) == [
        ("refused", "ada", {"resume": {question: "yes"}}),
        ("answered", "fred", {"resume": {question: "yes"}}),
    ]


async def test_a_remote_graph_that_goes_on_elsewhere_begins_with_its_input(house: Stack) -> None:
    fred = as_user(house, "fred", "finance")
    thread = (await fred.threads.create())["thread_id"]
    said: Any = {"configurable": {"__pregel_resuming": True, "__pregel_resume_map": {"0" * 32: "yes"}}}
    await fred.runs.wait(thread, "refunds", input={"kinds": ["transfer"]}, config=said)
    assert "transfer" in await waits(fred, thread)
