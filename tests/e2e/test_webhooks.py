"""Webhooks: what a receiver gets, how often, and what becomes of those that it does not take."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.e2e.steps import begun, join, new_thread, wait
from tests.e2e.test_readme import blocks
from tests.receiver import Received, Receiver
from tests.stack import GRAPHS, Service, Stack, running_stack
from treadle.db.pool import prepare

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
SECRET = "whsec_" + b64encode(b"a key of thirty-two bytes, or so").decode()
ATTEMPTS = """
select w.state, w.run, a.number, a.status, a.error, a.secs
  from treadle.webhook w join treadle.webhook_attempt a using (webhook_id)
 where w.run_id = $1 order by a.number
"""


class Hooked:
    """A stack that may call a receiver on this machine."""

    def __init__(self, stack: Stack, api: Service, receiver: Receiver) -> None:
        self.stack = stack
        self.client: LangGraphClient = api.client
        self.receiver = receiver

    def url(self, path: str) -> str:
        return self.receiver.url(path)

    async def create(self, thread: str, graph: str, path: str, **body: Any) -> str:
        """A run with a webhook, in the background; its id."""
        given: dict[str, Any] = {"input": {"text": "a"}, "webhook": self.url(path), **body}
        return cast("dict[str, str]", await self.client.runs.create(thread, graph, **given))["run_id"]

    async def told(self, path: str) -> dict[str, Any]:
        """The body of the first webhook that comes to a path."""
        return (await self.receiver.got(path))[0].json

    async def attempts(self, run: str) -> list[asyncpg.Record]:
        """What is on record about the webhook of a run."""
        connection = await asyncpg.connect(self.stack.servers.postgres.url)
        try:
            await prepare(connection)
            return await connection.fetch(ATTEMPTS, run)
        finally:
            await connection.close()

    async def logged(self, text: str) -> None:
        """Wait for a line in the log of whoever makes the attempt: the worker, or the scheduler if it is faster."""
        makers = [*self.stack.services("worker"), *self.stack.services("scheduler")]
        looking = {asyncio.create_task(maker.logged(text)) for maker in makers if maker.running}
        done, pending = await asyncio.wait(looking, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        assert all(task.result() for task in done), [maker.text for maker in makers]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hooked() -> AsyncGenerator[Hooked]:
    settings = {
        "LANGGRAPH_CONFIG": str(GRAPHS.with_name("webhooks.json")),
        "LG_WEBHOOK_TOKEN": "warp",
        "TREADLE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "TREADLE_WEBHOOK_INTERVAL_SECS": "0.1",
        "TREADLE_WEBHOOK_MAX_ATTEMPTS": "3",
        "TREADLE_WEBHOOK_RETRY_SECS": "0.1",
        "TREADLE_WEBHOOK_SECRET": SECRET,
    }
    async with running_stack(**settings) as stack, Receiver().listening() as receiver:
        # The worker makes the first attempt, which a test has time to interrupt; the scheduler makes the others.
        await stack.worker(TREADLE_WEBHOOK_TIMEOUT_SECS="5")
        await stack.scheduler(TREADLE_WEBHOOK_TIMEOUT_SECS="1")
        yield Hooked(stack, await stack.api(), receiver)


async def test_a_receiver_is_told_of_the_run_and_the_values_that_it_left(hooked: Hooked) -> None:
    thread = await new_thread(hooked.client)
    run = await hooked.create(thread, "steps", "/done?key=1", metadata={"mine": 1})

    [received] = await hooked.receiver.got("/done?key=1")
    shown = cast("dict[str, Any]", await hooked.client.runs.get(thread, run))
    told = received.json

    assert (received.method, received.headers["content-type"]) == ("POST", "application/json")
    assert {name: told[name] for name in shown} == shown
    assert told["values"] == {"text": "A!", "steps": ["first", "second"]}
    assert told["kwargs"]["webhook"] == hooked.url("/done?key=1")
    assert told["created_at"] < told["run_started_at"] < told["run_ended_at"] < told["webhook_sent_at"]
    assert "error" not in told


async def test_each_run_of_a_cron_has_its_webhook_called(hooked: Hooked) -> None:
    crons: Any = hooked.client.crons
    cron = await crons.create(
        "steps", schedule="* * * * * *", input={"text": "a"}, webhook=hooked.url("/cron")
    )
    first, second, *_ = [each.json for each in await hooked.receiver.got("/cron", 2)]
    await crons.delete(cron["cron_id"])
    assert first["run_id"] != second["run_id"]
    assert first["metadata"]["cron_id"] == second["metadata"]["cron_id"] == cron["cron_id"]
    assert first["values"]["text"] == second["values"]["text"] == "A!"


async def test_a_nul_in_what_a_client_sends_keeps_no_run_from_its_end_and_no_webhook_away(
    hooked: Hooked,
) -> None:
    strange = {"text": "a\0b", "escape": "\\u0000"}
    thread = await new_thread(hooked.client)
    assert (await wait(hooked.client, thread, "steps", input=strange))["text"] == "A\0B!"

    await hooked.create(thread, "steps", "/nul", input=strange)
    assert (await hooked.told("/nul"))["status"] == "success"


async def test_headers_come_from_langgraph_json_and_the_environment(hooked: Hooked) -> None:
    await hooked.create(await new_thread(hooked.client), "steps", "/headers")

    [received] = await hooked.receiver.got("/headers")

    assert received.headers["authorization"] == "Bearer warp"


async def test_the_signature_is_verified_by_the_code_of_the_documentation(hooked: Hooked) -> None:
    await hooked.create(await new_thread(hooked.client), "steps", "/signed")
    [received] = await hooked.receiver.got("/signed")
    documented: dict[str, Any] = {}
    exec(blocks(PAGE)[-1], documented)

    assert documented["verified"](SECRET, received.headers, received.body)
    assert not documented["verified"](SECRET, received.headers, received.body + b" ")
    assert not documented["verified"](SECRET, {**received.headers, "webhook-id": "other"}, received.body)


async def test_a_failure_is_told_with_its_error_and_what_was_reached(hooked: Hooked) -> None:
    await hooked.create(await new_thread(hooked.client), "failing", "/failed")

    told = await hooked.told("/failed")

    assert told["status"] == "error"
    assert told["error"] == {"error": "ValueError", "message": "the node failed on purpose"}
    assert told["values"] == {"text": "a", "steps": ["good"]}


async def test_a_question_is_told_as_success_with_the_values_so_far(hooked: Hooked) -> None:
    await hooked.create(await new_thread(hooked.client), "approval", "/asked")

    told = await hooked.told("/asked")

    assert (told["status"], told["values"]) == ("success", {"text": "a", "steps": []})


async def test_cancelled_runs_are_told_too_be_it_before_they_began(hooked: Hooked) -> None:
    thread, runs = await new_thread(hooked.client), hooked.client.runs
    on = await hooked.create(thread, "slow", "/on", input={"delay": 60})
    waiting = await hooked.create(thread, "slow", "/waiting")
    gone = await hooked.create(thread, "slow", "/gone")
    await runs.cancel(thread, waiting)
    await runs.cancel(thread, gone, action="rollback")
    await runs.cancel(thread, on, wait=True)

    told = [await hooked.told(path) for path in ("/on", "/waiting", "/gone")]

    assert [each["status"] for each in told] == ["interrupted", "interrupted", "rollback"]
    assert [each["error"]["error"] for each in told] == ["UserInterrupt", "UserInterrupt", "UserRollback"]
    assert [each["run_id"] for each in told] == [on, waiting, gone]
    assert told[2]["values"] is None


async def test_a_stateless_run_is_told_with_its_values(hooked: Hooked) -> None:
    await wait(hooked.client, None, "steps", input={"text": "b"}, webhook=hooked.url("/stateless"))

    assert (await hooked.told("/stateless"))["values"]["text"] == "B!"


async def test_what_fails_is_tried_again_under_the_same_id_and_each_attempt_is_on_record(
    hooked: Hooked,
) -> None:
    hooked.receiver.answers["/flaky"].extend(["503 Service Unavailable", None])
    run = await hooked.create(await new_thread(hooked.client), "steps", "/flaky")

    received = await hooked.receiver.got("/flaky", 3)
    await hooked.logged(f"of run {run}, attempt 3: answered 200")
    attempts = await hooked.attempts(run)

    assert len({each.headers["webhook-id"] for each in received}) == 1
    assert _without(received[0], "webhook_sent_at") == _without(received[2], "webhook_sent_at")
    assert [each["status"] for each in attempts] == [503, None, 200]
    assert attempts[1]["error"] == "no answer within 1 seconds (TREADLE_WEBHOOK_TIMEOUT_SECS)"
    assert attempts[1]["secs"] >= 1
    assert (attempts[0]["state"], attempts[0]["run"]) == ("delivered", None)


async def test_it_is_given_up_after_the_last_attempt(hooked: Hooked) -> None:
    hooked.receiver.answers["/broken"].extend(["500 Internal Server Error"] * 9)
    run = await hooked.create(await new_thread(hooked.client), "steps", "/broken")

    await hooked.logged(f"of run {run}, attempt 3: answered 500; it is given up")

    assert [(each["state"], each["status"]) for each in await hooked.attempts(run)] == [("failed", 500)] * 3


@pytest.mark.parametrize("answer", ["404 Not Found", "307 Temporary Redirect\r\nlocation: /elsewhere"])
async def test_an_answer_that_no_repetition_would_change_is_final(hooked: Hooked, answer: str) -> None:
    path = f"/final-{answer[:3]}"
    hooked.receiver.answers[path].append(answer)
    run = await hooked.create(await new_thread(hooked.client), "steps", path)

    await hooked.logged(f"of run {run}, attempt 1: answered {answer[:3]}; it is given up")

    assert [each["state"] for each in await hooked.attempts(run)] == ["failed"]
    assert hooked.receiver.at("/elsewhere") == []


async def test_an_address_that_is_refused_only_when_it_is_called_has_the_reason_on_record(
    hooked: Hooked,
) -> None:
    """As with a name that leads inside: what takes the run cannot tell, here because it may call there itself."""
    lenient = await hooked.stack.api(TREADLE_WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/8")
    thread = await new_thread(hooked.client)
    run = await lenient.client.runs.create(thread, "steps", input={"text": "a"}, webhook="http://10.1/x")
    await join(hooked.client, thread, run)
    await lenient.stop()

    await hooked.logged(f"of run {run['run_id']}, attempt 1: ")
    [attempt] = await hooked.attempts(run["run_id"])

    assert (attempt["state"], attempt["status"]) == ("failed", None)
    assert "10.0.0.1 is a private or reserved address" in attempt["error"]


async def test_an_address_that_the_url_tells_is_refused_when_the_run_is_made(hooked: Hooked) -> None:
    thread = await new_thread(hooked.client)

    with pytest.raises(UnprocessableEntityError, match=r"webhook: 10\.0\.0\.1 is a private"):
        await hooked.client.runs.create(thread, "steps", webhook="http://10.0.0.1/x")

    assert await hooked.client.runs.list(thread) == []


async def test_a_webhook_comes_though_the_worker_dies_while_it_sends_it(hooked: Hooked) -> None:
    thread = await new_thread(hooked.client)
    hooked.receiver.answers["/orphan"].append(None)
    [worker], [scheduler] = hooked.stack.services("worker"), hooked.stack.services("scheduler")
    scheduler.pause()
    run = await hooked.create(thread, "steps", "/orphan")
    await hooked.receiver.got("/orphan")
    await worker.kill()
    scheduler.resume()

    received = await hooked.receiver.got("/orphan", 2)
    await hooked.logged(f"of run {run}, attempt 2: answered 200")
    attempts = await hooked.attempts(run)
    await hooked.stack.worker()

    assert received[0].headers["webhook-id"] == received[1].headers["webhook-id"]
    assert [(each["status"], each["secs"] is None) for each in attempts] == [(None, True), (200, False)]


async def test_a_webhook_comes_though_the_worker_dies_before_it_begins(hooked: Hooked) -> None:
    """Between the commit that ends a run and the first attempt, what is in Postgres is all that knows of it."""
    thread = await new_thread(hooked.client)
    worker = hooked.stack.services("worker")[-1]
    connection = await asyncpg.connect(hooked.stack.servers.postgres.url)
    try:
        async with connection.transaction():
            await connection.execute("lock table treadle.webhook_attempt in access exclusive mode")
            run = await hooked.create(thread, "steps", "/never-begun")
            await hooked.client.runs.join(thread, run)
            await worker.kill()
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'treadle-worker' and wait_event_type = 'Lock'"
            )
    finally:
        await connection.close()

    told = await hooked.told("/never-begun")
    await hooked.logged(f"of run {run}, attempt 1: answered 200")
    await hooked.stack.worker()

    assert (told["run_id"], told["status"]) == (run, "success")
    assert [each["number"] for each in await hooked.attempts(run)] == [1]


async def test_all_runs_of_a_status_are_cancelled_wherever_they_are(hooked: Hooked) -> None:
    client = hooked.client
    threads = [await new_thread(client) for _ in range(2)]
    on = [
        await client.runs.create(thread, "slow", input={"delay": 60}, stream_mode="custom")
        for thread in threads
    ]
    for thread, run in zip(threads, on, strict=True):
        await begun(client.runs.join_stream(thread, run["run_id"]))
    waiting = [await client.runs.create(thread, "slow", input={"delay": 0}) for thread in threads]

    await client.runs.cancel_many(status="pending")
    statuses = [
        (await client.runs.get(thread, run["run_id"]))["status"]
        for thread, run in zip(threads, waiting, strict=True)
    ]
    await client.runs.cancel_many(status="all", action="rollback")
    for thread, run in zip(threads, on, strict=True):
        await join_removed(client, thread, run["run_id"])

    assert statuses == ["interrupted", "interrupted"]
    assert [len(await client.runs.list(thread)) for thread in threads] == [1, 1]
    with pytest.raises(NotFoundError, match="No runs found to cancel"):
        await client.runs.cancel_many(status="running")


async def join_removed(client: LangGraphClient, thread: str, run: str) -> None:
    """Wait for the end of a run that is being rolled back, and may be gone already."""
    with suppress(httpx.HTTPStatusError):
        await cast(Any, client.runs).join(thread, run)


def _without(received: Received, name: str) -> dict[str, Any]:
    return {key: value for key, value in received.json.items() if key != name}
