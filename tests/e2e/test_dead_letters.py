"""Requests that cannot be runs are kept as dead letters: why, what they were, and a way back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from nats.aio.client import Client
from nats.js.errors import APIError

from tests.e2e.bus import ask, bus, settled
from tests.e2e.steps import new_thread
from tests.stack import Service, Stack
from treadle.messaging.dead_letters import DeadLetter, DeadLetters

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def nats(stack: Stack, api: Service) -> AsyncGenerator[Client]:
    assert api
    async with bus(stack) as client:
        yield client


@pytest.fixture
def source() -> str:
    """One of this test's own."""
    return f"test-{uuid4().hex[:12]}"


async def refused(
    nats: Client, source: str, body: Any, name: str | None = None, headers: Mapping[str, str] | None = None
) -> DeadLetter:
    """What becomes of a request that cannot be a run."""
    await ask(nats.jetstream(), source, body, name, headers)
    await settled(nats.jetstream())
    [letter] = await letters(nats, source)
    return letter


async def letters(nats: Client, source: str, after: int = 0) -> list[DeadLetter]:
    return [letter async for letter in DeadLetters(nats).each(after=after, source=source)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"assistant_id": ',
        b"\xff\xfe",
        b"[1]",
        b'{"input": 1}',
        b'{"assistant_id": 7}',
        b'{"assistant_id": "steps", "multitask_strategy": "perhaps"}',
        b'{"assistant_id": "steps", "config": {"recursion_limit": 0}}',
        b'{"assistant_id": "steps", "config": {"tags": [1]}}',
        b'{"assistant_id": "steps", "after_seconds": -1}',
        b'{"assistant_id": "steps", "context": {"a": 1}, "config": {"configurable": {"b": 1}}}',
        '{"assistant_id": "Grüße, 100 % anders"}'.encode(),
        json.dumps({"assistant_id": NOBODY}).encode(),
        b'{"assistant_id": "steps", "webhook": "http://127.0.0.1/"}',
    ],
)
async def test_the_reason_is_what_the_http_api_answers(
    nats: Client, api_url: str, source: str, body: bytes
) -> None:
    async with httpx.AsyncClient(base_url=api_url) as http:
        answer = await http.post("/runs", content=body, headers={"content-type": "application/json"})

    letter = await refused(nats, source, body, source)

    assert (letter.code, letter.reason) == (answer.status_code, answer.json()["detail"])
    assert letter.error in ("InvalidRequest", "NotFound")
    assert (letter.body, letter.source, letter.message_id) == (body, source, source)


async def test_a_thread_that_is_missing_or_busy_is_a_reason(
    nats: Client, client: LangGraphClient, source: str
) -> None:
    missing = await refused(nats, source, {"assistant_id": "steps", "thread_id": NOBODY}, f"{source}-1")
    assert (missing.code, missing.error) == (404, "NotFound")
    assert NOBODY in missing.reason

    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input={"delay": 60})
    await ask(
        nats.jetstream(),
        source,
        {"assistant_id": "steps", "thread_id": thread, "multitask_strategy": "reject"},
        f"{source}-2",
    )
    await settled(nats.jetstream())
    await client.runs.cancel(thread, run["run_id"], wait=True)
    [busy] = await letters(nats, source, after=missing.sequence)
    assert (busy.code, busy.error) == (409, "Conflict")


async def test_a_dead_letter_has_all_that_the_request_was(nats: Client, source: str) -> None:
    headers = {
        "X-Order": "ünïcode ✓",
        "x-empty": "",
        "Treadle-Reason": "mine",
        "Nats-Expected-Stream": "TREADLE_REQUESTS",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    letter = await refused(nats, source, b"\0\xff{", "order 7 ✓", headers)

    assert letter.headers == {**headers, "Nats-Msg-Id": "order 7 ✓"}
    assert letter.subject == f"treadle.requests.{source}"
    assert (letter.message_id, letter.body) == ("order 7 ✓", b"\0\xff{")
    assert letter.published_at <= letter.at
    assert await DeadLetters(nats).get(letter.sequence) == letter

    found = await nats.jetstream().get_msg("TREADLE_DEAD_LETTERS", letter.sequence)
    assert (found.subject, found.data) == (f"treadle.deadletters.{source}", letter.body)
    assert found.headers is not None
    assert found.headers["Treadle-Code"] == "422"
    assert found.headers["Treadle-Reason"].startswith("Invalid JSON in request body: ")
    assert found.headers["Treadle-Subject"] == letter.subject
    assert found.headers["Treadle-Original-Treadle-Reason"] == "mine"


async def test_a_request_without_a_name_is_named_by_its_place(nats: Client, source: str) -> None:
    letter = await refused(nats, source, b"no")
    sequence, _, moment = letter.message_id.partition("@")
    assert int(sequence) > 0
    assert moment == letter.published_at.isoformat()
    assert "Nats-Msg-Id" not in letter.headers


@pytest.mark.parametrize("name", ["x" * 513, "a\u0000b", "\ufffd"])
async def test_a_name_that_no_row_can_hold_is_a_reason(nats: Client, source: str, name: str) -> None:
    letter = await refused(nats, source, {"assistant_id": "steps"}, name)
    assert letter.reason.startswith("Nats-Msg-Id: ")
    assert letter.headers["Nats-Msg-Id"] == name


async def test_a_source_that_is_no_name_is_a_reason(nats: Client) -> None:
    await ask(nats.jetstream(), "no!name", {"assistant_id": "steps"}, str(uuid4()))
    await settled(nats.jetstream())
    letter = (await letters(nats, "invalid"))[-1]
    assert letter.reason.startswith("subject: the source 'no!name'")
    assert letter.subject == "treadle.requests.no!name"


async def test_the_body_cannot_say_who_asks(nats: Client, source: str) -> None:
    body = {"assistant_id": "steps", "config": {"configurable": {"langgraph_auth_user_id": "root"}}}
    letter = await refused(nats, source, body)
    assert (letter.code, letter.error) == (422, "InvalidRequest")


async def test_what_would_not_fit_as_a_dead_letter_is_not_taken(nats: Client, source: str) -> None:
    body = b" " * (nats.max_payload - 1000)
    with pytest.raises(APIError, match="message size exceeds maximum"):
        await nats.jetstream().publish(f"treadle.requests.{source}", body)
    letter = await refused(nats, source, body[:-70_000], source, {"X-Long": "y" * 500})
    assert (letter.headers["X-Long"], letter.code) == ("y" * 500, 422)


async def test_a_reason_and_headers_that_are_too_long_are_cut(nats: Client, source: str) -> None:
    """JetStream keeps 64 KiB of headers."""
    body = {"assistant_id": "steps", "config": {"configurable": {"langgraph_auth_" + "✓" * 5000: 1}}}
    headers = {"X-First": "y" * 40_000, "X-Second": "z" * 20_000}
    letter = await refused(nats, source, body, source, headers)
    assert (letter.code, letter.headers["X-First"]) == (422, "y" * 40_000)
    assert letter.reason.endswith("✓...")
    assert "X-Second" not in letter.headers


async def test_a_request_that_is_tried_again_keeps_its_name(
    nats: Client, client: LangGraphClient, stack: Stack, source: str
) -> None:
    """JetStream has seen its id a moment ago; Treadle has not."""
    wanted, dead = uuid4(), DeadLetters(nats)
    letter = await refused(
        nats, source, {"assistant_id": str(wanted), "metadata": {"source": source}}, source
    )

    await dead.retry(letter)
    await settled(nats.jetstream())
    assert [each.message_id for each in await letters(nats, source)] == [source, source]

    await client.assistants.create("steps", assistant_id=str(wanted))
    for each in await letters(nats, source):
        await dead.retry(each)
    await settled(nats.jetstream())
    assert len(await letters(nats, source)) == 2
    assert await runs_of(stack, source) == 1

    await client.assistants.delete(str(wanted))
    for each in await letters(nats, source):
        await dead.retry(each, {"X-Try": "another"})
    await settled(nats.jetstream())
    assert (len(await letters(nats, source)), await runs_of(stack, source)) == (2, 1)


async def runs_of(stack: Stack, source: str) -> int:
    postgres = await asyncpg.connect(stack.servers.postgres.url)
    try:
        return await postgres.fetchval(
            "select count(*) from treadle.run where metadata ->> 'source' = $1", source
        )
    finally:
        await postgres.close()


async def test_dead_letters_are_removed_one_by_one_and_all_of_a_source(nats: Client, source: str) -> None:
    dead, other = DeadLetters(nats), f"{source}-other"
    for number in range(4):
        await ask(nats.jetstream(), source if number else other, b"no", f"{source}{number}")
    await settled(nats.jetstream())
    first, second, third = await letters(nats, source)
    assert [each.sequence for each in await letters(nats, source, after=first.sequence)] == [
        second.sequence,
        third.sequence,
    ]

    assert [await dead.delete(first.sequence), await dead.delete(first.sequence)] == [True, False]
    assert await dead.get(first.sequence) is None
    await dead.purge(source=source)
    assert await letters(nats, source) == []
    assert len(await letters(nats, other)) == 1


async def test_a_defect_is_tried_again_and_then_told(nats: Client, stack: Stack, source: str) -> None:
    postgres = await asyncpg.connect(stack.servers.postgres.url)
    await postgres.execute(
        f"""
        create function refuse_{source[-12:]}() returns trigger language plpgsql as $$
        begin raise exception 'not this one'; end $$;
        create trigger refusing before insert on treadle.request for each row
            when (new.source = '{source}') execute function refuse_{source[-12:]}();
        """
    )
    letter = await refused(nats, source, {"assistant_id": "steps"}, source)
    await postgres.execute("drop trigger refusing on treadle.request")
    await postgres.close()
    assert (letter.code, letter.error) == (500, "InternalServerError")
    assert letter.reason == "It failed 5 times, at last with RaiseError: not this one"
