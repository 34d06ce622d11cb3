"""The `treadle` command against running servers: above all the graphs of the examples, seen in the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langgraph_sdk import get_client

from tests.stack import READY, Stack

SECS = 60
QUESTION = "What is 12.5 * (3 + 4), and what time is it in Tokyo?"
CHAT = json.dumps({"messages": [{"role": "user", "content": QUESTION}]})
RESEARCH = json.dumps({"question": "How does Treadle run a graph?"})
ETL = json.dumps({"files": ["europe.csv", "africa.csv"]})
FAST = json.dumps({"pace": 0})
SLOW = json.dumps({"pace": 5})


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    def field(self, name: str) -> str:
        """The id of the run or the thread, from the end of the output."""
        found = re.search(rf"^  {name} +(\S+)$", self.out, re.M)
        assert found, self.out
        return found[1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Runs the command against the server."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def start(
        self, *arguments: str, stdout: int = PIPE, environ: Mapping[str, str] | None = None
    ) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "treadle.cli", *arguments),
            stdin=PIPE,
            stdout=stdout,
            stderr=PIPE,
            env={**os.environ, "TREADLE_URL": self.url, **(environ or {})},
        )

    async def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        return await ended(await self.start("run", *arguments), stdin)

    async def cron(self, *arguments: str) -> Ended:
        return await ended(await self.start("cron", *arguments))


async def ended(process: Process, stdin: str = "") -> Ended:
    async with asyncio.timeout(SECS):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Ended(process.returncode, (out or b"").decode(), err.decode())


@pytest.fixture
def cli(api_url: str) -> Cli:
    return Cli(api_url)


async def test_a_run_of_the_agent_tells_nodes_tools_and_the_answer(cli: Cli) -> None:
    run = await cli("agent", "--input", CHAT)
    assert (run.code, run.err) == (0, "")
    steps = [line[9:] for line in run.out.split("\n\n")[0].splitlines()]
    assert [re.sub(r"[\d.]+ m?s$", "", step) for step in steps if step.startswith("✓")] == [
        "✓ call_model  ",
        "✓ tools  ",
        "✓ call_model  ",
    ]
    assert any(step.startswith("calculator → ") and "87.5" in step for step in steps)
    assert any(step.startswith("call_model │ ") and "87.5" in step for step in steps)
    assert "✓ agent finished in" in run.out
    assert "messages, the last: ai:" in run.out


async def test_the_ids_at_the_end_are_those_of_the_server(cli: Cli) -> None:
    ended_run = await cli("agent", "--input", CHAT)
    async with get_client(url=cli.url) as client:
        run = await client.runs.get(ended_run.field("thread"), ended_run.field("run"))
    assert run["status"] == "success"


async def test_a_thread_goes_on_where_it_was(cli: Cli) -> None:
    first = await cli("agent", "--input", CHAT, "--json")
    thread = first.events[-1]["data"]["thread_id"]
    second = await cli("agent", "--input", "-", "--thread", thread, "--json", stdin=CHAT)
    before, after = (run.events[-1]["data"]["values"]["messages"] for run in (first, second))
    assert len(after) == 2 * len(before)


async def test_a_question_is_answered_with_the_command_that_is_shown(cli: Cli) -> None:
    asked = await cli("research", "--input", RESEARCH)
    assert asked.code == 0
    assert "? research stopped after" in asked.out
    assert "ask     Approve this answer?" in asked.out
    command = next(line for line in asked.out.splitlines() if "--resume JSON" in line)
    treadle, run, *arguments = shlex.split(command)
    assert (treadle, run) == ("treadle", "run")

    again = await cli(*arguments[:-1], '{"approved": false, "feedback": "Name the options."}')
    assert "? research stopped after" in again.out

    done = await cli(*arguments[:-1], '{"approved": true}')
    assert done.code == 0
    assert "✓ file_answer" in done.out
    assert "✓ research finished in" in done.out


async def test_progress_of_a_job_comes_line_by_line(cli: Cli, tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(ETL, encoding="utf-8")
    run = await cli("etl", "--input", f"@{job}", "--context", FAST)
    assert run.code == 0, run
    assert re.search(r"^ +[\d.]+  clean europe\.csv 10/38$", run.out, re.M)
    assert re.search(r"^ +[\d.]+  report 57/57$", run.out, re.M)
    assert re.search(r"✓ clean_chunk ×\d+  [█·]{40}", run.out)  # noqa: RUF001


async def test_json_is_one_object_per_line(cli: Cli) -> None:
    run = await cli("agent", "--input", CHAT, "--json")
    assert run.code == 0
    assert all(set(event) == {"event", "data", "id"} for event in run.events)
    first, *between, last = run.events
    assert first["event"] == "metadata"
    assert first["data"]["run_id"] == last["data"]["run_id"]
    assert {event["event"] for event in between} == {"messages", "updates"}
    assert len({event["id"] for event in run.events}) == len(run.events)
    assert last["event"] == "result"
    assert last["data"]["status"] == "success"
    assert "87.5" in last["data"]["values"]["messages"][-1]["content"]


async def test_a_graph_that_fails_ends_with_its_error(cli: Cli) -> None:
    run = await cli("etl", "--input", '{"files": ["absent.csv"]}')
    assert run.code == 1
    assert re.search(r"✗ list_files  .*ValueError: No such file: absent\.csv", run.out)
    assert re.search(r"^✗ etl failed after .*ValueError: No such file: absent\.csv", run.out, re.M)
    assert "Traceback" not in run.out + run.err


async def test_a_graph_that_the_server_does_not_have_is_named(cli: Cli) -> None:
    run = await cli("absent", "--input", "{}")
    assert (run.code, run.out) == (1, "")
    assert re.fullmatch(
        rf"treadle: The server at {cli.url} refused the request \(4\d\d\): .*absent.*\n", run.err
    )


async def test_a_thread_that_the_server_does_not_have_is_refused(cli: Cli) -> None:
    run = await cli("agent", "--input", CHAT, "--thread", "6ba7b821-9dad-11d1-80b4-00c04fd430c8")
    assert (run.code, run.out) == (1, "")
    assert re.fullmatch(r"treadle: The server at \S+ refused the request \(404\): .*\n", run.err)


async def test_ctrl_c_cancels_the_run_on_the_server(cli: Cli) -> None:
    process = await cli.start("run", "etl", "--input", ETL, "--context", SLOW)
    assert process.stdout is not None
    async with asyncio.timeout(SECS):
        while b"list_files" not in await process.stdout.readline():
            continue
    process.send_signal(signal.SIGINT)
    run = await ended(process)
    assert (run.code, run.err) == (130, "")
    assert f"Cancelling run {run.field('run')} on the server" in run.out
    assert "✗ etl cancelled on the server after" in run.out
    async with get_client(url=cli.url) as client:
        assert (await client.runs.get(run.field("thread"), run.field("run")))["status"] == "interrupted"


async def test_a_terminal_shows_a_picture_that_moves_and_keeps_the_summary(cli: Cli) -> None:
    shown = await on_a_terminal(cli, "run", "etl", "--input", ETL, "--context", json.dumps({"pace": 0.2}))
    text = without_style(shown)
    assert "\x1b[2K" in shown  # lines are drawn again in place
    assert re.search(r"europe\.csv +━+", text)
    assert "(Ctrl-C cancels the run)" in text
    assert "✓ etl finished in" in text
    assert re.search(r"thread  \S+\s*$", text)


async def test_migrate_says_when_there_is_nothing_to_do(cli: Cli, stack: Stack) -> None:
    migration = await ended(await cli.start("migrate", environ=stack.environment))
    assert migration == (0, "The database is up to date.\n", "")


async def test_a_service_runs_on_its_own_until_it_is_told_to_stop(cli: Cli, stack: Stack) -> None:
    process = await cli.start("scheduler", environ=stack.environment)
    assert process.stderr is not None
    async with asyncio.timeout(SECS):
        while READY["scheduler"].encode() not in (line := await process.stderr.readline()):
            assert line, "the scheduler ended"
    process.send_signal(signal.SIGTERM)
    assert (await ended(process)).code == 0


async def on_a_terminal(cli: Cli, *arguments: str) -> str:
    """What a command that succeeds writes to a terminal."""
    terminal, slave = pty.openpty()
    screen = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = await cli.start(*arguments, stdout=slave, environ=screen)
    os.close(slave)
    shown, run = await asyncio.gather(asyncio.to_thread(_read_all, terminal), ended(process))
    assert (run.code, run.err) == (0, "")
    return shown


def without_style(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def _read_all(terminal: int) -> str:
    """All that is written to the terminal, until its last writer has gone."""
    chunks: list[bytes] = []
    with open(terminal, "rb", buffering=0) as screen:
        try:
            while chunk := screen.read(65_536):
                chunks.append(chunk)
        except OSError:  # on Linux a terminal without writers fails to be read
            pass
    return b"".join(chunks).decode()
