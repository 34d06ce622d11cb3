"""Durable requests: whatever is published to `treadle.requests.<source>` is one run of its name, or a dead letter."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast
from uuid import uuid4

import asyncpg
from nats.js import JetStreamContext

from tests.e2e.bus import LOOK_SECS, REQUESTS, ask, bus, kill, settled
from tests.e2e.steps import join
from tests.otlp import receiving
from tests.stack import Service, Stack, running_stack

# For thousands of requests, on a machine that has other things to do.
PATIENCE_SECS = 90
RUNS = "select count(*) from treadle.run"
SLEEPING = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
NAMES = "select array_agg(message_id) from treadle.request where source = $1"


async def at_least(connection: asyncpg.Connection, statement: str, number: int) -> None:
    """Look until there are so many."""
    async with asyncio.timeout(PATIENCE_SECS):
        while await connection.fetchval(statement) < number:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_SECS)


async def made(connection: asyncpg.Connection, source: str) -> list[str]:
    """The names under which runs were made, and their runs: as many as there are names."""
    names = cast("list[str]", await connection.fetchval(NAMES, source) or [])
    runs = "select count(distinct r.run_id) from treadle.run r join treadle.request using (run_id) where source = $1"
    assert await connection.fetchval(runs, source) == len(names)
    return sorted(names)


def steps(text: str = "a", **fields: Any) -> dict[str, Any]:
    return {"assistant_id": "steps", "input": {"text": text}, **fields}


async def publish(js: JetStreamContext, names: list[str], at_once: int = 200) -> None:
    """Publish a request under each of the names, many at a time."""
    left = iter(names)

    async def some() -> None:
        for name in left:
            await ask(js, "orders", steps(name), name)

    await asyncio.gather(*(some() for _ in range(at_once)))


async def test_five_thousand_names_published_three_times_are_five_thousand_runs() -> None:
    """NATS is killed in the middle, and forgets what it has seen; then the stream is made anew, and forgets all."""
    names = [f"order-{number}" for number in range(5000)]
    sent = [*names, *names, *names]
    random.Random(4).shuffle(sent)
    async with running_stack("api") as stack, bus(stack) as client, stack.database() as connection:
        js = client.jetstream()

        async def restart() -> None:
            await at_least(connection, RUNS, 1500)
            await kill(stack)
            await stack.servers.nats.start()

        await asyncio.gather(publish(js, sent), restart())
        await settled(js, PATIENCE_SECS)
        assert await connection.fetchval(RUNS) == 5000
        assert await made(connection, "orders") == sorted(names)

        await js.delete_stream(REQUESTS)
        await publish(js, names)
        await settled(js, PATIENCE_SECS)
        assert await connection.fetchval(RUNS) == 5000
        assert await made(connection, "orders") == sorted(names)


async def test_a_request_is_a_run_like_any_other_in_the_trace_of_its_publisher() -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with receiving() as receiver:
        async with running_stack("api", "worker", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as stack:
            client, thread = stack.services("api")[0].client, str(uuid4())
            async with bus(stack) as nats:
                body = steps(thread_id=thread, if_not_exists="create", metadata={"order": 7})
                await ask(nats.jetstream(), "orders", body, "1", {"traceparent": f"00-{trace}-{span}-01"})
                await settled(nats.jetstream())
            [run] = await client.runs.list(thread)
            assert (await join(client, thread, run))["text"] == "A!"
            for name in ("api", "worker"):
                await stack.services(name)[0].stop()

    assert dict(run["metadata"] or {})["order"] == 7
    names = [
        "process treadle.requests.{source}",
        "publish treadle.runs.{route}.{thread_id}",
        "process treadle.runs.{route}.{thread_id}",
        "invoke_agent steps",
    ]
    chain = [receiver.one(name) for name in names]
    assert [each.parent_id for each in chain] == [span, *(each.span_id for each in chain[:-1])]
    assert {each.trace_id for each in chain} == {trace}
    assert chain[0].attributes["treadle.run.id"] == run["run_id"]
    assert chain[0].attributes["messaging.destination.name"] == "treadle.requests.orders"


async def test_a_header_that_looks_like_the_servers_is_the_publishers(stack: Stack, api: Service) -> None:
    assert api
    source = f"status-{uuid4().hex[:12]}"
    async with bus(stack) as client, stack.database() as connection:
        for status in ("100", "404", "408", "409", "new"):
            await ask(client.jetstream(), source, steps(), status, {"Status": status})
        await settled(client.jetstream())
        assert await made(connection, source) == ["100", "404", "408", "409", "new"]


async def test_while_nobody_is_the_primary_requests_wait() -> None:
    async with running_stack() as stack, bus(stack) as client:
        js = client.jetstream()
        api = await stack.api(DATABASE_URI=f"{stack.servers.postgres.url}&target_session_attrs=read-write")
        async with stack.database() as connection:
            await demote(connection, "on")
            await publish(js, ["a", "b", "c"])
            assert await api.logged("has to wait: Postgres could not be reached")
            assert await made(connection, "orders") == []
            await demote(connection, "off")
            await settled(js)
            assert await made(connection, "orders") == ["a", "b", "c"]
        assert api.running


async def demote(connection: asyncpg.Connection, read_only: str) -> None:
    """Make a server that takes no writes of the primary, as a failover does, or the primary of it again."""
    await connection.execute("set default_transaction_read_only = off")
    await connection.execute(f"alter system set default_transaction_read_only = {read_only}")
    await connection.execute("select pg_reload_conf()")
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name like 'treadle-%' and pid <> pg_backend_pid()"
    )


async def test_without_a_name_each_message_is_a_run(stack: Stack, api: Service) -> None:
    assert api
    source = f"nameless-{uuid4().hex[:12]}"
    async with bus(stack) as client, stack.database() as connection:
        for _ in range(3):
            await ask(client.jetstream(), source, steps())
        await settled(client.jetstream())
        assert len(set(await made(connection, source))) == 3


async def test_api_processes_that_are_killed_and_postgres_being_away_cost_no_run_and_double_none() -> None:
    names = [f"order-{number}" for number in range(450)]
    async with running_stack() as stack, bus(stack) as client:
        js, api = client.jetstream(), await stack.api()
        async with stack.database() as connection:
            await commit_slowly(connection)
            for number in range(3):
                api = await killed_at_a_commit(
                    stack, js, connection, api, number, names[number * 150 :][:150]
                )
            await settled(js)
            expected = [*names, *(f"slow-{number}" for number in range(3))]
            assert await made(connection, "orders") == sorted(expected)
            assert await connection.fetchval(RUNS) == len(expected)

        await stack.servers.postgres.stop()
        late = [f"late-{number}" for number in range(50)]
        await publish(js, late)
        assert await api.logged("has to wait: Postgres could not be reached")
        await stack.servers.postgres.start()
        await settled(js)
        async with stack.database() as connection:
            assert await made(connection, "orders") == sorted([*expected, *late])


async def killed_at_a_commit(
    stack: Stack,
    js: JetStreamContext,
    connection: asyncpg.Connection,
    api: Service,
    number: int,
    names: list[str],
) -> Service:
    """Kill an API process under load while a commit of its is on, which nobody will acknowledge; start another."""
    loading = asyncio.create_task(publish(js, names, 20))
    await ask(js, "orders", steps(), f"slow-{number}")
    await at_least(connection, SLEEPING, 1)
    await api.kill()
    other = await stack.api()
    await loading
    return other


async def commit_slowly(connection: asyncpg.Connection) -> None:
    """Commits of some names take a while: long enough to die in."""
    await connection.execute(
        """
        create function pause() returns trigger language plpgsql as $$
        begin perform pg_sleep(1); return null; end $$;
        create constraint trigger pausing after insert on treadle.request deferrable initially deferred
            for each row when (new.message_id like 'slow-%') execute function pause();
        """
    )
