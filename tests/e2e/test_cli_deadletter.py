"""`treadle deadletter` against running servers: what came to nothing is seen, tried again, or removed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from nats.aio.client import Client

from tests.e2e.bus import ask, bus
from tests.e2e.steps import new_thread, values, wait
from tests.e2e.test_cli_run import Cli, Ended, ended, on_a_terminal, without_style
from tests.marking import marked
from tests.stack import Stack, marks, running_stack
from treadle.identity import HEADER, sign
from treadle.messaging.dead_letters import DeadLetter, DeadLetters

KEY = "k" * 40
MADE = "select * from treadle.request where source = $1"


class House:
    """A Treadle whose runs are given up at once, a publisher, and the command line beside it."""

    def __init__(self, stack: Stack, client: Client, db: asyncpg.Connection) -> None:
        self.stack = stack
        self.bus = client
        self.db = db
        self.environ = {name: stack.environment[name] for name in ("DATABASE_URI", "NATS_URL")}
        self.cli = Cli("")

    @property
    def client(self) -> LangGraphClient:
        return self.stack.services("api")[0].client

    @asynccontextmanager
    async def burying(self, source: str, count: int = 1) -> AsyncGenerator[None]:
        """Wait until so many requests of a source are dead letters, from the block's beginning on."""
        died = await self.bus.subscribe(f"treadle.deadletters.{source}")
        yield
        for _ in range(count):
            await died.next_msg(timeout=30)
        await died.unsubscribe()

    async def refused(self, source: str, body: object, name: str, **headers: str) -> DeadLetter:
        """Publish what cannot be a run; returns its dead letter, which NATS tells of before it has stored it."""
        async with self.burying(source):
            await ask(self.bus.jetstream(), source, body, name, headers)
        async with asyncio.timeout(30):
            while not (letters := await self.letters(source)):  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)
        return letters[-1]

    async def letters(self, source: str) -> list[DeadLetter]:
        """The dead letters of a source, oldest first."""
        return [letter async for letter in DeadLetters(self.bus).each(source=source)]

    async def listed(self, *arguments: str) -> list[Any]:
        told = await self.deadletter("list", "--json", *arguments)
        assert told.code == 0, told
        return [json.loads(line) for line in told.out.splitlines()]

    async def deadletter(self, *arguments: str, **environ: str) -> Ended:
        given = {**self.environ, "TREADLE_IDENTITY_SECRET": KEY, **environ}
        return await ended(await self.cli.start("deadletter", *arguments, environ=given))

    async def made(self, source: str) -> list[tuple[str, str, str]]:
        """What requests of a source have made, which is one at least: (name, thread, run)."""
        async with asyncio.timeout(30):
            while not (rows := await self.db.fetch(MADE, source)):
                continue
        return [(row["message_id"], str(row["thread_id"]), str(row["run_id"])) for row in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house() -> AsyncGenerator[House]:
    settings = {"BG_JOB_MAX_RETRIES": "1", "TREADLE_LEASE_SECS": "3", "TREADLE_IDENTITY_SECRET": KEY}
    async with running_stack("api", "worker", "scheduler", **settings) as stack, bus(stack) as client:
        db = await asyncpg.connect(stack.servers.postgres.url)
        yield House(stack, client, db)
        await db.close()


@pytest_asyncio.fixture(loop_scope="session")
async def source() -> str:
    return f"source-{uuid4()}"


def named(source: str, number: int = 1) -> str:
    """A name that no other test gives: JetStream drops an id that it has seen lately, whatever the source."""
    return f"{source}/{number}"


def unknown(assistant: str, **fields: Any) -> dict[str, Any]:
    return {"assistant_id": assistant, "input": {}, **fields}


def proof(source: str, body: object, name: str | None) -> dict[str, str]:
    data, subject = json.dumps(body).encode(), f"treadle.requests.{source}"
    return {HEADER: sign(KEY, user="ada", subject=subject, body=data, message_id=name)}


async def test_a_request_is_refused_seen_mended_and_retried_once(house: House, source: str) -> None:
    """At once: JetStream still knows its id, and would drop it. Its identity is signed anew."""
    assistant = str(uuid4())
    body = unknown(assistant)
    await house.refused(source, body, named(source), **proof(source, body, named(source)))
    [letter] = await house.listed("--source", source)
    assert (letter["code"], letter["error"], letter["message_id"]) == (404, "NotFound", named(source))
    assert assistant in letter["reason"]

    shown = await house.deadletter("show", letter["id"], "--json")
    told = json.loads(shown.out)
    assert (told["body"], told["headers"]["Nats-Msg-Id"]) == (body, named(source))
    assert told["headers"][HEADER].endswith(".***")

    await house.client.assistants.create("asked", assistant_id=assistant)
    keyless = await house.deadletter("retry", letter["id"], TREADLE_IDENTITY_SECRET="")
    assert (keyless.code, keyless.out) == (1, "")
    assert "set TREADLE_IDENTITY_SECRET" in keyless.err
    both = await asyncio.gather(*(house.deadletter("retry", letter["id"]) for _ in range(2)))
    done = f"retried {letter['id']}: published again to treadle.requests.{source}\n"
    assert done in [each.out for each in both], both

    [(name, thread, run)] = await house.made(source)
    assert name == named(source)
    assert (await joined(house, thread, run))["identity"] == "ada"
    assert await house.letters(source) == []
    again = await house.deadletter("retry", letter["id"])
    assert (again.code, again.out) == (1, "")
    assert f"There is no dead letter {letter['id']}, or not any more" in again.err


async def joined(house: House, thread: str, run: str) -> dict[str, Any]:
    return cast("dict[str, Any]", await house.client.runs.join(thread, run))


async def test_a_request_without_a_name_keeps_its_proof_when_it_is_retried(house: House, source: str) -> None:
    assistant = str(uuid4())
    body = unknown(assistant)
    async with house.burying(source):
        await ask(house.bus.jetstream(), source, body, None, proof(source, body, None))
    [letter] = await house.letters(source)
    await house.client.assistants.create("asked", assistant_id=assistant)

    retried = await house.deadletter("retry", f"request-{letter.sequence}")

    assert retried.code == 0, retried
    [(name, thread, run)] = await house.made(source)
    assert name == letter.message_id
    assert (await joined(house, thread, run))["identity"] == "ada"


async def test_a_proof_is_good_for_one_name_only(house: House, source: str) -> None:
    """Whoever has seen a header cannot publish it under another name."""
    body = unknown("asked")
    await ask(house.bus.jetstream(), source, body, named(source), proof(source, body, named(source)))
    letter = await house.refused(source, body, named(source, 2), **proof(source, body, named(source)))

    assert (letter.code, letter.error) == (401, "Unauthorized")
    refused = await house.deadletter("retry", f"request-{letter.sequence}")
    assert (refused.code, refused.out) == (1, "")
    assert "another `Nats-Msg-Id`" in refused.err
    assert [name for name, _, _ in await house.made(source)] == [named(source)]


async def test_all_of_a_source_are_retried_or_removed(house: House, source: str) -> None:
    """What is refused again is a dead letter again, and does not make the command go round and round."""
    before = [
        (await house.refused(source, b"not JSON \xff", named(source, number))).sequence for number in range(3)
    ]

    async with house.burying(source, 3):
        retried = await house.deadletter("retry", "--all", "--source", source)
    assert (retried.code, retried.out, retried.err) == (0, "retried 3\n", "")
    after = await house.letters(source)
    assert sorted(letter.message_id for letter in after) == [named(source, number) for number in range(3)]
    assert not set(before) & {letter.sequence for letter in after}

    newest = f"request-{after[2].sequence}"
    limited = await house.deadletter("list", "--source", source, "--limit", "2")
    header, *rows = [re.split(" {2,}", line) for line in limited.out.splitlines()]
    assert header == ["ID", "AGE", "FROM", "REASON"]
    assert [row[0] for row in rows] == [newest, f"request-{after[1].sequence}"]
    assert limited.err == "There are more: --limit 2 is reached.\n"

    young = await house.deadletter("purge", "--all", "--source", source, "--older-than", "1h", "--yes")
    assert young.out == "removed 0\n"
    unsure = await house.deadletter("purge", "--all", "--source", source)
    assert (unsure.code, "say --yes as well" in unsure.err) == (2, True)
    one = await house.deadletter("purge", newest, "run-999999")
    assert (one.code, one.out) == (1, f"removed {newest}\n")
    assert "There is no dead letter run-999999" in one.err
    rest = await house.deadletter("purge", "--all", "--source", source, "--yes")
    assert (rest.code, rest.out) == (0, "removed 2\n")
    assert await house.letters(source) == []


async def test_a_terminal_gets_a_table_and_is_asked_before_all_are_removed(
    house: House, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = await house.refused(source, {}, named(source))
    for name, value in house.environ.items():
        monkeypatch.setenv(name, value)

    shown = without_style(await on_a_terminal(house.cli, "deadletter", "list", "--source", source))

    assert f"request-{letter.sequence}" in shown
    assert "REASON" in shown
    assert await answered("n\n", "deadletter", "purge", "--all", "--source", source) == 1
    assert await house.letters(source) == [letter]
    assert await answered("y\n", "deadletter", "purge", "--all", "--source", source) == 0
    assert await house.letters(source) == []


async def answered(answer: str, *arguments: str) -> int:
    """The exit code of a command whose questions a terminal answers."""
    terminal, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "treadle.cli", *arguments),
        stdin=slave,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(slave)
    os.write(terminal, answer.encode())
    async with asyncio.timeout(30):
        code = await process.wait()
    os.close(terminal)
    return code


async def test_the_servers_of_treadle_dev_are_found_by_their_folder(house: House, source: str) -> None:
    letter = await house.refused(source, {}, named(source))
    data_dir = str(house.stack.servers.nats.data_dir)

    there = await house.deadletter(
        "list", "--json", "--source", source, "--data-dir", data_dir, DATABASE_URI="", NATS_URL=""
    )
    assert [json.loads(line)["id"] for line in there.out.splitlines()] == [f"request-{letter.sequence}"]
    nowhere = await house.deadletter("list", "--data-dir", "/nowhere", DATABASE_URI="", NATS_URL="")
    assert nowhere.code == 78
    assert "DATABASE_URI and NATS_URL must be set" in nowhere.err
    away = await house.deadletter("list", NATS_URL="nats://127.0.0.1:9")
    assert away.code == 1
    assert "NATS could not be reached" in away.err
    assert "\n" not in away.err.strip()


async def test_a_run_that_was_given_up_goes_on_where_it_got_to(house: House, tmp_path: Path) -> None:
    log, gate = tmp_path / "marks", tmp_path / "gate"
    thread = await new_thread(house.client)
    given = {"log": str(log), "label": "run", "gate": str(gate)}
    [worker] = house.stack.services("worker")
    run = await house.client.runs.create(thread, "three_steps", input=given, durability="sync")
    await marked(log, "dwell", 1)
    await worker.kill()
    await house.stack.worker()
    await house.client.runs.join(thread, run["run_id"])

    [letter] = await house.listed("--kind", "run")
    assert (letter["thread_id"], letter["run_id"], letter["graph_id"]) == (
        thread,
        run["run_id"],
        "three_steps",
    )
    assert (letter["attempts"], letter["reason"]) == (1, "worker lost 1 times")
    shown = await house.deadletter("show", letter["id"])
    assert f'"log": "{log}"' in shown.out
    gate.touch()
    retried = await house.deadletter("retry", letter["id"])
    told = re.fullmatch(
        rf"retried {letter['id']}: run (\S+) on thread {thread}, from its last checkpoint, if it left one\n",
        retried.out,
    )
    assert told is not None, retried
    await house.client.runs.join(thread, told[1])

    assert [what for what, _, _ in marks(log)] == ["prepare", "dwell", "dwell", "conclude"]
    assert (await values(house.client, thread))["done"] == ["prepare", "dwell", "conclude"]
    assert await house.listed("--kind", "run") == []
    retry = cast(Any, await house.client.runs.get(thread, told[1]))
    assert "continues" not in retry["kwargs"]
    assert (await wait(house.client, thread, "three_steps", input={}))["done"]
