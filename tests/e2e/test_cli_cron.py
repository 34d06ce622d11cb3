"""`treadle cron` against running servers."""

from __future__ import annotations

import json
import re
from typing import Any, cast
from uuid import uuid4

import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.test_cli_run import Cli, on_a_terminal, without_style
from tests.stack import Service
from treadle.cli import cron_calls

LEAP_DAY = "0 12 29 2 *"


@pytest.fixture
def cli(api_url: str) -> Cli:
    return Cli(api_url)


@pytest.fixture
def team() -> dict[str, str]:
    return {"team": str(uuid4())}


async def create(client: LangGraphClient, graph: str = "steps", **body: Any) -> dict[str, Any]:
    body = {"schedule": LEAP_DAY, "input": {"text": "a"}, **body}
    return cast("dict[str, Any]", await cast(Any, client.crons).create(graph, **body))


def only(team: dict[str, str]) -> tuple[str, str]:
    return "--metadata", json.dumps(team)


async def test_crons_are_listed_the_next_one_first(
    cli: Cli, client: LangGraphClient, team: dict[str, str]
) -> None:
    later = await create(client, metadata=team, timezone="Europe/Berlin")
    sooner = await create(client, "chat", metadata=team, schedule="0 12 28 2 *")
    off = await create(client, metadata=team, schedule="0 13 29 2 *", enabled=False)

    listed = await cli.cron("list", *only(team))

    assert (listed.code, listed.err) == (0, "")
    header, *rows = [re.split(" {2,}", line) for line in listed.out.splitlines()]
    assert header == ["CRON", "ASSISTANT", "SCHEDULE", "ZONE", "NEXT RUN", "LAST RUN"]
    assert rows == [
        [sooner["cron_id"], "chat", "0 12 28 2 *", "UTC", sooner["next_run_date"], "-"],
        [later["cron_id"], "steps", LEAP_DAY, "Europe/Berlin", later["next_run_date"], "-"],
        [off["cron_id"], "steps", "0 13 29 2 *", "UTC", "paused", "-"],
    ]


async def test_crons_are_filtered(cli: Cli, client: LangGraphClient, team: dict[str, str]) -> None:
    for graph, enabled in (("steps", True), ("steps", False), ("chat", True)):
        await create(client, graph, metadata=team, enabled=enabled)
    chat = await cli.cron("list", *only(team), "--assistant", "chat", "--json")
    assert [each["enabled"] for each in chat.events] == [True]
    paused = await cli.cron("list", *only(team), "--paused", "--json")
    assert paused.events == await client.crons.search(metadata=team, enabled=False)
    limited = await cli.cron("list", *only(team), "--limit", "2", "--json")
    assert len(limited.events) == 2
    assert limited.err == "There are more: --limit 2 is reached.\n"
    none = await cli.cron("list", *only(team), "--assistant", str(uuid4()))
    assert (none.code, none.out, none.err) == (0, "", "No crons.\n")


async def test_a_terminal_shows_a_table_with_the_time_in_the_crons_zone(
    cli: Cli, client: LangGraphClient, team: dict[str, str]
) -> None:
    cron = await create(client, metadata=team, timezone="Asia/Kolkata")
    shown = without_style(await on_a_terminal(cli, "cron", "list", *only(team)))
    assert re.search(r"^CRON +ASSISTANT +SCHEDULE", shown)
    assert re.search(rf"^{cron['cron_id']} +steps ", shown, re.M)
    assert "12:00:00" in shown


async def test_crons_are_paused_and_resumed(cli: Cli, client: LangGraphClient, team: dict[str, str]) -> None:
    crons = [await create(client, metadata=team) for _ in range(3)]
    one = crons[1]["cron_id"]
    paused = await cli.cron("pause", one)
    assert (paused.code, paused.out) == (0, f"paused {one}  {LEAP_DAY}\n")
    rest = await cli.cron("pause", *only(team), "--json")
    assert {each["cron_id"] for each in rest.events} == {each["cron_id"] for each in crons} - {one}
    assert await client.crons.search(metadata=team, enabled=True) == []
    again = await cli.cron("pause", *only(team))
    assert (again.code, again.out, again.err) == (0, "", "No cron to pause.\n")
    resumed = await cli.cron("resume", *only(team))
    assert re.fullmatch(rf"(resumed \S+  {re.escape(LEAP_DAY)}  next run \S+\n){{3}}", resumed.out)
    assert await client.crons.search(metadata=team, enabled=False) == []


async def test_all_crons_are_found_while_they_tick(
    api: Service, client: LangGraphClient, team: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick puts a cron behind those that are due later, which must not pull one of them over the end of a page."""
    monkeypatch.setattr(cron_calls, "PAGE", 2)
    crons = [await create(client, metadata=team, schedule=f"0 12 {day} 2 *") for day in range(24, 29)]
    reading = api.client
    pages: list[Any] = []

    async def tick(page: Any) -> None:
        for cron in crons[:2] if not pages else []:
            await client.crons.update(cron["cron_id"], schedule=LEAP_DAY)
        pages.append(page)

    reading.http.client.event_hooks["response"].append(tick)
    found = await cron_calls.found(reading, cron_calls.Wanted(metadata=team))

    assert len(pages) == 3
    assert {cron["cron_id"] for cron in found} == {cron["cron_id"] for cron in crons}


async def test_a_cron_that_is_gone_keeps_no_other_from_being_paused(
    cli: Cli, client: LangGraphClient, team: dict[str, str]
) -> None:
    absent = str(uuid4())
    crons = [await create(client, metadata=team) for _ in range(cron_calls.AT_ONCE + 1)]

    paused = await cli.cron("pause", absent, *(cron["cron_id"] for cron in crons))

    assert paused.code == 1
    assert paused.out.splitlines() == [f"paused {cron['cron_id']}  {LEAP_DAY}" for cron in crons]
    assert re.fullmatch(rf"treadle: The server at \S+ .*\(404\): .*{absent}.*\n", paused.err)


async def test_a_cron_that_the_server_does_not_have_is_named(cli: Cli) -> None:
    absent = str(uuid4())
    for command in ("pause", "trigger"):
        refused = await cli.cron(command, absent)
        assert (refused.code, refused.out) == (1, "")
        assert re.fullmatch(rf"treadle: The server at \S+ .*\(404\): .*{absent}.*\n", refused.err)


async def test_a_cron_is_triggered(cli: Cli, client: LangGraphClient, team: dict[str, str]) -> None:
    cron = await create(client, metadata=team, on_run_completed="keep", enabled=False)
    triggered = await cli.cron("trigger", cron["cron_id"])
    assert (triggered.code, triggered.err) == (0, "")
    run = await client.runs.get(triggered.field("thread"), triggered.field("run"))
    assert cast(Any, run)["metadata"]["cron_id"] == cron["cron_id"]


async def test_a_triggered_run_is_waited_for(cli: Cli, client: LangGraphClient, team: dict[str, str]) -> None:
    leaves_nothing = await create(client, metadata=team)
    waited = await cli.cron("trigger", leaves_nothing["cron_id"], "--wait")
    assert (waited.code, waited.err) == (0, "")
    assert "✓ steps finished in" in waited.out
    assert re.search(r"^  text +A!$", waited.out, re.M)
    failing = await create(client, "failing", metadata=team, input={"text": "boom"}, on_run_completed="keep")
    failed = await cli.cron("trigger", failing["cron_id"], "--wait")
    assert failed.code == 1
    assert re.search(r"^✗ failing failed after .*: \w+Error", failed.out, re.M)
    thread = (await client.threads.create())["thread_id"]
    asking = await client.crons.create_for_thread(
        thread, "approval", schedule=LEAP_DAY, input={"topic": "a"}, metadata=team
    )
    asked = await cli.cron("trigger", cast(Any, asking)["cron_id"], "--wait")
    assert asked.code == 0
    assert f"treadle run approval --thread {thread}" in asked.out
    told = await cli.cron("trigger", leaves_nothing["cron_id"], "--wait", "--json")
    [result] = told.events
    assert (result["event"], result["data"]["status"]) == ("result", "success")
    assert result["data"]["values"]["text"] == "A!"


async def test_a_triggered_run_whose_output_is_no_object_is_waited_for(
    cli: Cli, client: LangGraphClient, team: dict[str, str]
) -> None:
    cron = await create(client, "functional", metadata=team, input=20)
    waited = await cli.cron("trigger", cron["cron_id"], "--wait")
    assert (waited.code, waited.err) == (0, "")
    assert re.search(r"^  40$", waited.out, re.M)
    told = await cli.cron("trigger", cron["cron_id"], "--wait", "--json")
    assert told.events[0]["data"]["values"] == 40
