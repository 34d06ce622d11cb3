"""Crons: kept, checked, changed and found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from langgraph_sdk.schema import Run, Thread

from tests.e2e.steps import eventually, join, new_thread

NOON = "0 12 * * *"
EVERY_SECOND = "* * * * * *"


async def create(client: LangGraphClient, graph: str = "steps", **body: Any) -> dict[str, Any]:
    """A cron that is due at noon, unless told otherwise; the client calls it a run."""
    return cast("dict[str, Any]", await cast(Any, client.crons).create(graph, **{"schedule": NOON, **body}))


async def find(client: LangGraphClient, cron: dict[str, Any]) -> dict[str, Any]:
    found = await client.crons.search(metadata=cron["metadata"])
    return cast("dict[str, Any]", next(each for each in found if each["cron_id"] == cron["cron_id"]))


def next_noon(now: datetime) -> datetime:
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    return (noon if noon > now else noon + timedelta(days=1)).astimezone(UTC)


async def test_a_cron_keeps_what_its_runs_are_to_be(client: LangGraphClient) -> None:
    body: dict[str, Any] = {
        "input": {"text": "a"},
        "config": {"tags": ["t"], "recursion_limit": 9},
        "context": {"a": 1},
        "metadata": {"team": str(uuid4())},
        "interrupt_before": ["first"],
        "multitask_strategy": "reject",
        "stream_mode": ["values", "updates"],
        "durability": "sync",
    }
    cron = await create(client, **body)
    assert cron["payload"] == {**body, "assistant_id": cron["assistant_id"]}
    assert cron["metadata"] == body["metadata"]
    assert (cron["enabled"], cron["on_run_completed"], cron["thread_id"]) == (True, "delete", None)
    assert await find(client, cron) == cron


async def test_a_cron_is_due_in_its_time_zone(client: LangGraphClient) -> None:
    for zone in ("America/New_York", "Asia/Kolkata", "UTC"):
        cron = await create(client, timezone=zone)
        made = datetime.fromisoformat(cron["created_at"]).astimezone(ZoneInfo(zone))
        assert datetime.fromisoformat(cron["next_run_date"]) == next_noon(made)
        assert cron["timezone"] == zone


async def test_a_cron_ends(client: LangGraphClient) -> None:
    end = datetime.now(UTC) + timedelta(days=3)
    cron = await create(client, end_time=end)
    assert datetime.fromisoformat(cron["end_time"]) == end
    assert datetime.fromisoformat(cron["next_run_date"]) < end
    ends_first = await create(client, schedule="0 12 29 2 *", end_time=end)
    assert ends_first["next_run_date"] is None
    without = cast(Any, await client.crons.update(ends_first["cron_id"], end_time=None))
    assert without["end_time"] is None
    assert without["next_run_date"].endswith("-02-29T12:00:00+00:00")


async def test_what_cannot_be_used_is_refused_with_the_way_out(client: LangGraphClient) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"schedule": "every day"}, r"schedule: 'every day' .*five fields.*@daily"),
        ({"timezone": "Berlin"}, "timezone: 'Berlin' .*'Europe/Berlin'"),
        ({"end_time": datetime(2020, 1, 1, tzinfo=UTC)}, r"end_time: 2020-01-01.* is past.*leave it out"),
        (
            {"end_time": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))},
            "end_time: .*beyond",
        ),
        ({"multitask_strategy": "bogus"}, r"multitask_strategy: .*reject, enqueue"),
        ({"context": {"a": 1}, "config": {"configurable": {"b": 1}}}, "context: .*not both"),
        ({"graph": "nograph"}, "assistant_id: .*'nograph'"),
    ]
    cron = await create(client)
    for body, said in refused:
        with pytest.raises(UnprocessableEntityError, match=said):
            await create(client, **body)
    for name in ("schedule", "timezone"):
        with pytest.raises(UnprocessableEntityError, match=f"{name}: "):
            await client.crons.update(cron["cron_id"], **cast(Any, {name: "bogus"}))
    with pytest.raises(UnprocessableEntityError, match="nothing to change"):
        await client.crons.update(cron["cron_id"])


async def test_a_cron_is_changed(client: LangGraphClient) -> None:
    team = str(uuid4())
    cron = await create(client, input={"text": "a"}, metadata={"team": team}, context={"a": 1})
    one = cron["cron_id"]
    changed = cast(
        Any,
        await client.crons.update(
            one, schedule="30 6 * * * 15", timezone="Europe/Berlin", metadata={"more": 1}, input={"text": "b"}
        ),
    )
    due = datetime.fromisoformat(changed["next_run_date"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert (due.hour, due.minute, due.second) == (6, 30, 15)
    assert changed["metadata"] == changed["payload"]["metadata"] == {"team": team, "more": 1}
    assert changed["payload"]["input"] == {"text": "b"}
    newer = cast(Any, await client.crons.update(one, config={"tags": ["t"], "configurable": {"b": 2}}))
    assert newer["payload"]["config"] == {"tags": ["t"], "configurable": {"b": 2}}
    assert "context" not in newer["payload"]
    newest = cast(Any, await client.crons.update(one, context={"c": 3}))
    assert newest["payload"]["config"] == {"tags": ["t"]}
    assert newest["payload"]["context"] == {"c": 3}
    off = cast(Any, await client.crons.update(one, enabled=False, on_run_completed="keep"))
    assert (off["enabled"], off["on_run_completed"]) == (False, "keep")


async def test_crons_are_found_counted_and_removed(client: LangGraphClient) -> None:
    team = {"team": str(uuid4())}
    crons = [
        await create(client, graph, schedule=f"{minute} 12 29 2 *", enabled=minute != 1, metadata=team)
        for minute, graph in enumerate(("steps", "steps", "chat"))
    ]
    earliest = await client.crons.search(
        metadata=team, sort_by="next_run_date", sort_order="asc", select=["cron_id"]
    )
    assert [dict(each) for each in earliest] == [{"cron_id": each["cron_id"]} for each in crons]
    off = await client.crons.search(metadata=team, enabled=False)
    assert [each["cron_id"] for each in off] == [crons[1]["cron_id"]]
    page = await client.crons.search(metadata=team, limit=2, offset=1)
    assert [each["cron_id"] for each in page] == [crons[1]["cron_id"], crons[0]["cron_id"]]
    assert await client.crons.count(metadata=team) == 3
    assert await client.crons.count(metadata=team, assistant_id=crons[2]["assistant_id"]) == 1
    await client.crons.delete(crons[0]["cron_id"])
    assert await client.crons.count(metadata=team) == 2
    with pytest.raises(NotFoundError, match=crons[0]["cron_id"]):
        await client.crons.delete(crons[0]["cron_id"])
    with pytest.raises(NotFoundError, match=crons[0]["cron_id"]):
        await client.crons.update(crons[0]["cron_id"], enabled=True)


async def test_a_cron_goes_with_its_thread_and_with_its_assistant(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    made = await client.crons.create_for_thread(thread, "steps", schedule=NOON, input={"text": "a"})
    on_a_thread = cast("dict[str, Any]", made)
    assert (on_a_thread["thread_id"], on_a_thread["on_run_completed"]) == (thread, None)
    assert await client.crons.count(thread_id=thread) == 1
    with pytest.raises(UnprocessableEntityError, match="on_run_completed: "):
        await client.crons.update(on_a_thread["cron_id"], on_run_completed="delete")
    await client.threads.delete(thread)
    assert await client.crons.count(thread_id=thread) == 0
    with pytest.raises(NotFoundError, match=thread):
        await client.crons.create_for_thread(thread, "steps", schedule=NOON)
    assistant = (await client.assistants.create("steps"))["assistant_id"]
    await create(client, assistant)
    await client.assistants.delete(assistant)
    assert await client.crons.count(assistant_id=assistant) == 0
    with pytest.raises(NotFoundError, match=assistant):
        await create(client, assistant)


async def trigger(client: LangGraphClient, cron: dict[str, Any]) -> Run:
    """Make a run of a cron by hand."""
    return cast(Run, await client.http.post(f"/runs/crons/{cron['cron_id']}/trigger", json=None))


async def test_a_cron_is_triggered_by_hand_and_stays_due_when_it_was(client: LangGraphClient) -> None:
    cron = await create(
        client,
        input={"text": "a"},
        metadata={"team": str(uuid4())},
        enabled=False,
        on_run_completed="keep",
        stream_mode="updates",
    )
    run = await trigger(client, cron)
    assert (await join(client, run["thread_id"], run))["text"] == "A!"
    told = cast("dict[str, Any]", run)
    assert told["metadata"].items() >= {"cron_id": cron["cron_id"], **cron["metadata"]}.items()
    assert told["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
    assert told["kwargs"]["stream_mode"] == ["updates"]
    [kept] = await client.threads.search(metadata={"cron_id": cron["cron_id"]})
    assert kept["thread_id"] == run["thread_id"]
    assert await find(client, cron) == cron
    assert (await trigger(client, cron))["thread_id"] != run["thread_id"]


async def test_a_triggered_run_is_refused_as_any_other(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError, match="Cron with ID"):
        await trigger(client, {"cron_id": str(uuid4())})
    with pytest.raises(UnprocessableEntityError, match="Invalid cron ID"):
        await trigger(client, {"cron_id": "nope"})
    thread = await new_thread(client)
    body: dict[str, Any] = {"schedule": NOON, "input": {"delay": 30}, "multitask_strategy": "reject"}
    made = await client.crons.create_for_thread(thread, "slow", **body)
    cron = cast("dict[str, Any]", made)
    first = await trigger(client, cron)
    assert first["thread_id"] == thread
    with pytest.raises(ConflictError, match="already running"):
        await trigger(client, cron)
    await client.runs.cancel(thread, first["run_id"], wait=True)


async def test_what_becomes_of_missed_ticks_is_said_by_the_cron(client: LangGraphClient) -> None:
    body = {"assistant_id": "steps", "schedule": NOON, "metadata": {"team": str(uuid4())}}
    cron = cast("dict[str, Any]", await client.http.post("/runs/crons", json={**body, "on_missed": "skip"}))
    assert (cron["on_missed"], cron["last_run_id"], cron["last_error"]) == ("skip", None, None)
    path = f"/runs/crons/{cron['cron_id']}"
    changed = cast("dict[str, Any]", await client.http.patch(path, json={"on_missed": "once"}))
    assert changed["on_missed"] == (await create(client))["on_missed"] == "once"
    kept = await client.http.patch(path, json={"enabled": False})
    assert cast("dict[str, Any]", kept)["on_missed"] == "once"
    search = {"metadata": body["metadata"], "select": ["on_missed", "last_run_id"]}
    found = await client.http.post("/runs/crons/search", json=search)
    assert found == [{"on_missed": "once", "last_run_id": None}]
    thread = f"/threads/{await new_thread(client)}/runs/crons"
    on_a_thread = await client.http.post(thread, json={**body, "on_missed": "skip"})
    assert cast("dict[str, Any]", on_a_thread)["on_missed"] == "skip"
    with pytest.raises(UnprocessableEntityError, match=r"on_missed: .*once, skip"):
        await client.http.post("/runs/crons", json={**body, "on_missed": "twice"})


async def newest_run(client: LangGraphClient, cron: dict[str, Any]) -> dict[str, Any]:
    """Wait until a cron has made a run."""

    async def told() -> dict[str, Any] | None:
        found = await find(client, cron)
        return found if found["last_run_id"] is not None else None

    told_of = await eventually(told)
    assert told_of is not None
    return told_of


async def tick_again(client: LangGraphClient, cron: dict[str, Any], times: int = 2) -> None:
    """Wait for more ticks of a cron: what else would be due each second has had its moments then."""
    for _ in range(times):
        before = (await newest_run(client, cron))["last_run_id"]

        async def moved(before: str = before) -> bool:
            return (await find(client, cron))["last_run_id"] != before

        await eventually(moved)


async def test_each_tick_makes_a_run_with_a_thread_of_its_own(client: LangGraphClient) -> None:
    body: dict[str, Any] = {"schedule": EVERY_SECOND, "input": {"text": "a"}}
    brief = await create(client, **body, metadata={"team": str(uuid4())})
    keeping = await create(client, **body, metadata={"team": str(uuid4())}, on_run_completed="keep")

    async def two_kept() -> list[Thread] | None:
        kept = await client.threads.search(metadata={"cron_id": keeping["cron_id"]}, status="idle")
        return kept if len(kept) > 1 else None

    kept = await eventually(two_kept)
    assert kept is not None
    assert {cast(Any, thread)["values"]["text"] for thread in kept} == {"A!"}
    told = await newest_run(client, brief)
    left = await client.http.get(f"/threads/{told['last_thread_id']}/runs/{told['last_run_id']}/join")
    assert cast("dict[str, Any]", left)["text"] == "A!"
    with pytest.raises(NotFoundError):
        await client.threads.get(told["last_thread_id"])
    for cron in (brief, keeping):
        await client.crons.delete(cron["cron_id"])


async def test_a_paused_cron_rests_and_a_resumed_one_goes_on(client: LangGraphClient) -> None:
    """The other cron is the clock: whatever else is due each second is due as often."""
    thread, team = await new_thread(client), {"team": str(uuid4())}
    clock = await create(client, schedule=EVERY_SECOND, metadata=team, input={"text": "a"})
    body: dict[str, Any] = {"schedule": EVERY_SECOND, "input": {"text": "a"}, "metadata": team}
    made = await client.crons.create_for_thread(thread, "steps", **body)
    cron = cast("dict[str, Any]", made)
    await newest_run(client, cron)

    async def runs() -> int:
        return len(await client.runs.list(thread, limit=100))

    await client.crons.update(cron["cron_id"], enabled=False)
    paused = await runs()
    await tick_again(client, clock)
    assert await runs() == paused

    await client.crons.update(cron["cron_id"], enabled=True)

    async def more() -> bool:
        return await runs() > paused

    await eventually(more)
    await client.crons.delete(cron["cron_id"])
    removed = await runs()
    await tick_again(client, clock)
    assert await runs() == removed
    await client.crons.delete(clock["cron_id"])


async def test_no_run_is_due_after_the_end(client: LangGraphClient) -> None:
    thread, end = await new_thread(client), datetime.now(UTC) + timedelta(seconds=2.5)
    body: dict[str, Any] = {"schedule": EVERY_SECOND, "input": {"text": "a"}, "end_time": end}
    made = await client.crons.create_for_thread(thread, "steps", **body, metadata={"team": str(uuid4())})
    cron = cast("dict[str, Any]", made)

    async def over() -> bool:
        return (await find(client, cron))["next_run_date"] is None

    await eventually(over)
    first = datetime.fromisoformat(cron["next_run_date"])
    assert len(await client.runs.list(thread)) == 1 + (end - first) // timedelta(seconds=1)


async def test_the_multitask_strategy_decides_on_a_busy_thread(client: LangGraphClient) -> None:
    threads: dict[str, str] = {}
    crons: dict[str, dict[str, Any]] = {}
    for strategy in ("reject", "interrupt"):
        threads[strategy] = thread = await new_thread(client)
        body: dict[str, Any] = {"input": {"delay": 60}, "multitask_strategy": strategy}
        crons[strategy] = cast(
            "dict[str, Any]",
            await client.crons.create_for_thread(
                thread, "slow", schedule=EVERY_SECOND, metadata={"team": str(uuid4())}, **body
            ),
        )

    async def refused() -> str | None:
        return (await find(client, crons["reject"]))["last_error"]

    async def interrupted() -> list[Run]:
        return await client.runs.list(threads["interrupt"], status="interrupted")

    assert "reject" in str(await eventually(refused))
    assert len(await client.runs.list(threads["reject"])) == 1
    await eventually(interrupted)
    for strategy, cron in crons.items():
        await client.crons.delete(cron["cron_id"])
        await client.threads.delete(threads[strategy])
