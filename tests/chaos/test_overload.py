"""More than the API can do: it turns away what is too much, says so, keeps its memory, and recovers by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from tests.chaos.raw import Answer, ask, resident_mib, sample
from tests.e2e.bus import ask as publish
from tests.e2e.bus import bus, settled
from tests.e2e.direct import asking
from tests.stack import Service, Stack, running_stack

RUSH = 2000
POOL, WAIT_SECS, AT_WORK = 4, 2.5, 1000
GROWTH_MIB = 80.0
# A request that is turned away has waited for a connection at the most, and for 2,000 others on the same two cores.
REFUSED_SECS = 25.0
PROBE_SECS = 10.0
CREATED = "select (metadata ->> 'number')::int from treadle.run where metadata ? 'number'"
WAITING = "select count(*) from treadle.run where status = 'pending'"
MADE = "select count(*) from treadle.request where source = 'orders'"
MOST, ORDERS = 20, 60


def numbered(number: int) -> dict[str, Any]:
    return {
        "assistant_id": "steps",
        "input": {"text": "x" * 10_000},
        "metadata": {"number": number},
        "if_not_exists": "create",
    }


async def create(api: Service, number: int) -> Answer:
    return await ask(api.port, "POST", f"/threads/{uuid4()}/runs", numbered(number))


async def test_a_rush_on_a_stuck_postgres_is_turned_away_and_nothing_is_half_done() -> None:
    limits = {
        "TREADLE_DB_POOL_SIZE": str(POOL),
        "TREADLE_DB_POOL_WAIT_SECS": str(WAIT_SECS),
        "TREADLE_HTTP_MAX_REQUESTS": str(AT_WORK),
    }
    async with running_stack(**limits) as stack, stack.database() as database:
        api = await stack.api()
        # As many connections as in the rush, so that only what the rush leaves behind counts as growth.
        await asyncio.gather(*(ask(api.port, "GET", "/ok") for _ in range(RUSH)))
        await asyncio.gather(*(create(api, -1) for _ in range(500)))
        before = resident_mib(api.pid)

        rush, peak = await stuck(api, database)

        assert Counter(answer.status for answer in rush.values()).keys() == {200, 503}
        refused = [answer for answer in rush.values() if answer.status == 503]
        accepted = sorted(number for number, answer in rush.items() if answer.status == 200)
        assert sorted(row[0] for row in await database.fetch(CREATED) if row[0] >= 0) == accepted
        assert len(refused) >= RUSH - 10 * POOL
        for answer in refused:
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            assert (
                "TREADLE_HTTP_MAX_REQUESTS" in answer.json["detail"]
                or "TREADLE_DB_POOL" in answer.json["detail"]
            )
        assert max(answer.secs for answer in refused) < REFUSED_SECS
        assert peak - before < GROWTH_MIB, f"{before:.0f} MiB became {peak:.0f} MiB"

        # It is over: everything is accepted again, and what was refused can be sent again.
        again = [number for number in range(RUSH) if number not in accepted][:20]
        answers = await asyncio.gather(*(create(api, number) for number in again))
        assert {answer.status for answer in answers} == {200}
        counted = (await ask(api.port, "GET", "/metrics")).body.decode()
        by_limit = Counter("connection" in answer.json["detail"] for answer in refused)
        assert sample(counted, 'treadle_requests_refused_total{limit="requests"}') == by_limit[False]
        # What the process asks for itself has waited in vain too.
        assert sample(counted, 'treadle_requests_refused_total{limit="connections"}') >= by_limit[True]


async def stuck(api: Service, database: asyncpg.Connection) -> tuple[dict[int, Answer], float]:
    """Lock the runs, let the rush come, let go when all but those who hold connections have their answers.

    Returns the answers, and the most memory that the API has had.
    """
    peak = 0.0
    async with asyncio.timeout(2 * REFUSED_SECS), asyncio.TaskGroup() as tasks, database.transaction():
        await database.execute("lock table treadle.run in access exclusive mode")
        rush = {number: tasks.create_task(create(api, number)) for number in range(RUSH)}
        while sum(task.done() for task in rush.values()) < RUSH - POOL:
            for path in ("/ok", "/info", "/metrics"):
                probe = await ask(api.port, "GET", path)
                assert (probe.status, probe.secs < PROBE_SECS) == (200, True), (path, probe)
            peak = max(peak, resident_mib(api.pid))
            await asyncio.sleep(0.1)
        busy = await ask(api.port, "GET", "/ok?check_db=1")
        assert (busy.status, "TREADLE_DB_POOL_SIZE" in busy.json["services"]["postgres"]) == (503, True)
        # Those that hold the connections are accepted when the transaction ends.
    return {number: task.result() for number, task in rush.items()}, max(peak, resident_mib(api.pid))


async def full(api: Service) -> Answer:
    """Ask for runs until no more may wait; the refusal."""
    async with asyncio.timeout(20):
        while True:
            for number in range(MOST):
                if (answer := await create(api, number)).status != 200:
                    return answer
            await asyncio.sleep(0.2)  # the queue is looked at once a second


async def begin(stack: Stack, api: Service) -> tuple[UUID, UUID]:
    """A thread that waits for an answer, and one whose run will be cancelled."""
    client, worker = api.client, await stack.worker()
    asking, other = [UUID((await client.threads.create())["thread_id"]) for _ in range(2)]
    await client.runs.wait(str(asking), "approval", input={"text": "a"})
    await worker.stop()
    return asking, other


async def test_a_full_queue_is_said_over_http_and_nats_and_what_need_not_be_refused_is_not() -> None:
    async with (
        running_stack("scheduler", TREADLE_MAX_PENDING_RUNS=str(MOST)) as stack,
        asking(stack) as nats,
        bus(stack) as durable,
        stack.database() as database,
    ):
        api = await stack.api()
        question, other = await begin(stack, api)
        run = await api.client.runs.create(str(other), "steps", input={"text": "a"})

        refusal = await full(api)

        assert refusal.status == 429
        assert int(refusal.headers["retry-after"]) >= 1
        assert "TREADLE_MAX_PENDING_RUNS" in refusal.json["detail"]
        waiting = await database.fetchval(WAITING)
        for path, body in makers(other):
            answer = await ask(api.port, "POST", path, body)
            assert (answer.status, "retry-after" in answer.headers) == (429, True), (path, answer)
        problem = await nats.ask("create", {"assistant_id": "steps"})
        assert (problem.code, problem.json["error"], problem.headers["Retry-After"]) == (
            "429",
            "QueueFull",
            "5",
        )
        assert await database.fetchval(WAITING) == waiting

        # What ends or shows runs always may; so may the answer to a question.
        await api.client.runs.cancel(str(other), run["run_id"])
        assert (await api.client.runs.get(str(other), run["run_id"]))["status"] == "interrupted"
        await api.client.runs.create(str(question), "approval", command={"resume": "yes"})
        await publish(durable.jetstream(), "orders", numbered(7), "order-7")

        # And the rest, once there is room.
        await stack.worker()
        await settled(durable.jetstream())
        assert (
            await database.fetchval("select count(*) from treadle.request where message_id = 'order-7'") == 1
        )
        await accepted_again(api)


def makers(thread: UUID) -> list[tuple[str, Any]]:
    """Every way over HTTP to a new run."""
    body = numbered(0)
    command = {"id": 1, "method": "run.start", "params": {"assistant_id": "steps", "input": {"text": "a"}}}
    return [
        *(
            (f"{where}/runs{what}", body)
            for where in ("", f"/threads/{thread}")
            for what in ("", "/wait", "/stream")
        ),
        ("/runs/batch", [body]),
        (f"/threads/{thread}/commands", command),
        (f"/threads/{thread}/runs", {**body, "after_seconds": 60}),
    ]


async def accepted_again(api: Service) -> None:
    async with asyncio.timeout(20):
        while (await create(api, 1)).status != 200:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
