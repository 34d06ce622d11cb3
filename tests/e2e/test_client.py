"""`treadle.client`: runs over NATS for services inside the house."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.chaos.proxy import Plain, Proxy
from tests.e2e.bus import LISTENING, bus, kill
from tests.stack import Stack, free_port, running_stack
from treadle.client import Client, RunEvent, RunRef, RunRequest, connect, connecting, hearing
from treadle.errors import ConfigError, InvalidRequest, NotFound, StillRunning, TooLarge, Unavailable
from treadle.model import CancelAction

KEY = "k" * 48


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house() -> AsyncGenerator[Stack]:
    async with running_stack("api", "worker", "scheduler", TREADLE_IDENTITY_SECRET=KEY) as stack:
        assert await stack.services("api")[0].logged(LISTENING)
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def treadle(house: Stack) -> AsyncGenerator[Client]:
    async with connect(house.servers.nats.url, key=KEY) as client:
        yield client


def steps(text: str = "a", **fields: Any) -> RunRequest:
    return RunRequest(assistant_id="steps", input={"text": text}, **fields)


async def test_a_run_is_created_read_and_its_result_joined(treadle: Client) -> None:
    run = await treadle.create(steps("hello", metadata={"order": 17}))
    assert (await treadle.get(run)).metadata["order"] == 17
    values = await treadle.join(run)
    assert values["text"] == "HELLO!"
    assert await treadle.wait(steps("hello")) == values


async def test_one_name_is_one_run(treadle: Client) -> None:
    name = str(uuid4())
    first = await treadle.create(steps(), message_id=name)
    assert (await treadle.create(steps(), message_id=name)).run_id == first.run_id


async def test_errors_are_those_of_the_server(treadle: Client) -> None:
    nobody = RunRef(thread_id=uuid4(), run_id=uuid4())
    with pytest.raises(NotFound, match=str(nobody.run_id)):
        await treadle.get(nobody)
    with pytest.raises(InvalidRequest, match="assistant_id"):
        await treadle.create(RunRequest(assistant_id="nobody"))


async def test_a_wait_ends_in_time_and_a_cancel_ends_the_run(treadle: Client) -> None:
    run = await treadle.create(steps(after_seconds=60, on_completion="keep"))
    with pytest.raises(StillRunning):
        await treadle.join(run, timeout_secs=0.2)
    await treadle.cancel(run, CancelAction.INTERRUPT)
    assert (await treadle.get(run)).status == "interrupted"


async def test_a_user_is_signed_for(house: Stack, treadle: Client) -> None:
    ada = treadle.acting_for("ada", tenant="acme")
    run = await ada.create(steps())
    assert run.kwargs["config"]["configurable"]["langgraph_auth_user_id"] == "ada"
    async with connect(house.servers.nats.url) as keyless:
        with pytest.raises(ConfigError, match="key"):
            keyless.acting_for("ada")


@pytest.mark.parametrize("tenant", ["acme.example", "ünïted *.>"])
async def test_what_happens_in_a_tenant_is_heard_by_who_acts_in_it(
    house: Stack, treadle: Client, tenant: str
) -> None:
    """Under subjects of its own, so that NATS can be told who may hear it; also the end of what is removed."""
    thread_id = uuid4()
    ada = treadle.acting_for("ada", tenant=tenant)
    new = steps(thread_id=thread_id, if_not_exists="create")
    async with ada.events() as events, treadle.events() as others, bus(house) as nats:
        all_told = await nats.subscribe("treadle.events.>")
        await ada.wait(new)
        waits = await ada.create(steps(thread_id=thread_id, after_seconds=3600))
        await ada.cancel(waits, CancelAction.ROLLBACK)
        heard = [event async for event in _of_thread(events, "rolled_back")]
        run = await treadle.create(steps())
        async for event in others:
            assert event.thread_id != thread_id
            if event.run_id == run.run_id:
                break
        subjects: list[str] = []
        while len(subjects) < len(heard):
            message = await all_told.next_msg(10)
            subjects += [message.subject] if str(thread_id) in message.subject else []
    assert [event.status for event in heard] == ["pending", "running", "success", "pending", "rolled_back"]
    assert {(event.thread_id, event.tenant) for event in heard} == {(thread_id, tenant)}
    assert {subject.split(".")[2] for subject in subjects} == {"tenants"}
    async with treadle.events(tenant=tenant, durable=f"all-{uuid4()}") as again:
        assert (await anext(again)).tenant == tenant


async def _of_thread(events: AsyncGenerator[RunEvent], last: str) -> AsyncGenerator[RunEvent]:
    """Up to the first that says so."""
    async with asyncio.timeout(30):
        async for event in events:
            yield event
            if event.status == last:
                return


async def test_published_requests_become_runs_that_are_heard_of(treadle: Client) -> None:
    thread_id, name = uuid4(), str(uuid4())
    async with treadle.events(thread_id=thread_id) as events:
        request = steps(thread_id=thread_id, if_not_exists="create")
        for _ in range(3):
            assert (await treadle.publish("orders", request, message_id=name)).message_id == name
        heard = await _until_ended(events)
    assert [event.status for event in heard] == ["pending", "running", "success"]
    assert len({event.run_id for event in heard}) == 1


async def test_a_hearer_misses_nothing_though_nats_forgets_it(house: Stack, treadle: Client) -> None:
    thread_id = uuid4()
    request = steps(thread_id=thread_id, if_not_exists="create")
    async with bus(house) as nats, treadle.events(thread_id=thread_id) as events:
        js = nats.jetstream()
        await treadle.wait(request)
        first = await _until_ended(events)
        for consumer in await js.consumers_info("TREADLE_EVENTS"):
            if consumer.name.startswith("treadle-client-"):
                await js.delete_consumer("TREADLE_EVENTS", consumer.name)
        await treadle.wait(request)
        second = await _until_ended(events)
    assert [event.status for event in (*first, *second)] == ["pending", "running", "success"] * 2
    assert len({event.event_id for event in (*first, *second)}) == 6


async def test_an_event_whose_hearer_leaves_comes_again_at_once_and_before_what_follows(
    treadle: Client,
) -> None:
    run = await treadle.create(steps(on_completion="keep"))
    await treadle.join(run)
    heard: list[RunEvent] = []
    async with asyncio.timeout(hearing.ACK_WAIT_SECS / 2):
        for taken in (1, 2, 2, 1):
            async with treadle.events(thread_id=run.thread_id, durable="leaving") as events:
                heard += [await anext(events) for _ in range(taken)]
    # What was not followed by another one was not heard.
    assert [event.status for event in heard] == [
        "pending",
        "pending",
        "running",
        "running",
        "success",
        "success",
    ]


async def test_what_a_hearer_gave_back_comes_again_though_nats_is_killed(
    house: Stack, treadle: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After what follows, if NATS had written down that it was delivered, and not that it was given back."""
    monkeypatch.setattr(hearing, "ACK_WAIT_SECS", 2.0)
    run = await treadle.create(steps(on_completion="keep"))
    async with treadle.events(thread_id=run.thread_id, durable="billing") as events:
        assert (await anext(events)).status == "pending"
        assert (await anext(events)).status == "running"
    await kill(house)
    await house.servers.nats.start()
    heard: set[str] = set()
    async with asyncio.timeout(30), treadle.events(thread_id=run.thread_id, durable="billing") as events:
        while not heard >= {"running", "success"}:
            heard.add((await anext(events)).status)


async def test_a_client_outlives_restarts_of_nats_and_of_the_api(house: Stack, treadle: Client) -> None:
    run = await treadle.create(steps(after_seconds=3))
    joining = asyncio.create_task(treadle.join(run, timeout_secs=60))
    await kill(house)
    await house.servers.nats.start()
    await house.services("api")[0].kill()
    await house.api()
    assert await joining
    assert await treadle.wait(steps())


async def test_what_no_attempt_would_change_is_said_at_once(house: Stack, treadle: Client) -> None:
    for size in (1_000_000, 2_000_000):  # more than the stream takes, more than the server takes
        with pytest.raises(TooLarge, match="lets through"):
            await treadle.publish("orders", steps("x" * size))
    with pytest.raises(TooLarge, match="lets through"):
        await treadle.create(steps("x" * 2_000_000))
    with pytest.raises(InvalidRequest, match=r"source: 'a\.b'"):
        await treadle.publish("a.b", steps())
    run = await treadle.create(steps(after_seconds=60))
    async with bus(house) as nats, Client(nats).events() as events:
        await nats.close()
        with pytest.raises(Unavailable, match="closed"):
            await Client(nats).join(run)
        with pytest.raises(Unavailable, match="closed"):
            await anext(events)


async def test_nats_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable, match="NATS cannot be reached"):
        async with connect(f"nats://127.0.0.1:{free_port()}", timeout_secs=0.5):
            pass


async def test_a_connection_that_falls_silent_is_given_up(
    house: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings tell, which it sends every five seconds; here more often."""
    monkeypatch.setattr(connecting, "PING_SECS", 0.2)
    network = Proxy(lambda: house.servers.nats.url)
    async with network.listening(), connect(network.url) as treadle:
        async with network.turned(Plain.HALF_OPEN):
            pass
        run = await treadle.create(steps())
        assert (await treadle.join(run))["text"] == "A!"


async def test_nobody_there_is_said() -> None:
    async with running_stack() as stack, connect(stack.servers.nats.url) as treadle:
        with pytest.raises(Unavailable, match="API process"):
            await treadle.create(steps(), timeout_secs=0.1)
        with pytest.raises(Unavailable, match="scheduler"):
            async with treadle.events():
                pass


async def _until_ended(events: AsyncGenerator[RunEvent]) -> list[RunEvent]:
    heard: list[RunEvent] = []
    async with asyncio.timeout(30):
        async for event in events:
            heard.append(event)
            if event.status in ("success", "error", "interrupted"):
                break
    return heard
