"""The load: clients that do what their scripts say over HTTP and NATS, and try again as users would."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIError
from langgraph_sdk.schema import StreamPart

from tests.chaos.plan import Answer, Cancel, Join, Post, Scale, Script
from tests.chaos.record import Asked, Cancelled, Followed, Record
from tests.chaos.site import Site, now
from tests.chaos.work import Work
from treadle.client import Client as Bus
from treadle.client import RunRequest, connect
from treadle.errors import TreadleError

GRAPH = "chaos"
TIMEOUT = httpx.Timeout(connect=3, read=8, write=5, pool=30)
# What a fault makes of a request.
FAILURES = (httpx.HTTPError, APIError, OSError)
PAUSE_SECS = 0.5
# How long clients try again, besides the load and the longest outage: processes that start anew take their time where
# many do, on a machine that is busy.
PATIENCE_SECS = 120.0
# Clients that share connections.
THREADS_PER_CLIENT = 25
SOURCE = "chaos"

T = TypeVar("T")


class Callers:
    """The public clients, one for each address and couple of threads, made when they are first used."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: dict[tuple[str, int], LangGraphClient] = {}

    def any(self, chance: random.Random, thread: int, other_than: str = "") -> tuple[str, LangGraphClient]:
        """One of the API processes that are there, another one if that can be."""
        urls = self._site.urls()
        url = chance.choice([url for url in urls if url != other_than] or urls or [other_than])
        key = (url, thread // THREADS_PER_CLIENT)
        if key not in self._made:
            self._made[key] = get_client(url=url, timeout=cast(Any, TIMEOUT))
        return url, self._made[key]

    async def close(self) -> None:
        for client in self._made.values():
            await client.http.client.aclose()


def status_of(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else response.status_code


def was_told_where_to_wait(error: Exception) -> bool:
    """Whether it is the answer of the place where a client waits on when an answer that had begun broke off: what it asked
    for was accepted, and the run is gone by now."""
    response = getattr(error, "response", None)
    return response is not None and response.request.url.path.endswith("/join")


class ThreadLoad:
    """One client of one thread."""

    def __init__(
        self,
        n: int,
        script: Script,
        client: int,
        callers: Callers,
        bus: Bus,
        record: Record,
        until: float,
        name: str = "",
    ) -> None:
        self._n = n
        self._name = name or f"t{n}.{client}"
        self._script = script
        self._client = client
        self._callers = callers
        self._bus = bus
        self._record = record
        self._until = until
        self._chance = random.Random(f"{script.thread_id}/{client}")
        self._count = 0
        self._newest: Asked | None = None

    @property
    def _thread(self) -> str:
        return self._script.thread_id

    async def run(self) -> None:
        for act in self._script.clients[self._client]:
            await asyncio.sleep(act.pause)
            try:
                await self._do(act)
            except TimeoutError as error:
                self._record.problems.append(f"thread {self._thread}: {act} was not done in time: {error}")

    async def _do(self, act: Post | Answer | Cancel | Join) -> None:
        match act:
            case Post(how="nats"):
                await self._publish(act)
            case Post(how="stream"):
                await self._post(act)
                await self._follow(act)
            case Post():
                await self._post(act)
            case Answer():
                await self._answer(act)
            case Cancel():
                await self._cancel(act)
            case Join():
                await self._join()

    def _label(self) -> str:
        self._count += 1
        return f"{self._name}.{self._count}"

    def _ask(self, how: str, strategy: str, work: Work | None) -> Asked:
        asked = Asked(self._label(), self._thread, work, how, strategy, now())
        self._record.asked.append(asked)
        return asked

    async def _post(self, act: Post) -> None:
        def body(label: str) -> dict[str, Any]:
            given: dict[str, Any] = {
                "input": input_of(label, act.work),
                "multitask_strategy": act.strategy,
                "durability": act.durability,
                "stream_mode": ["custom"],
                "if_not_exists": "create",
            }
            return given | ({"after_seconds": act.delay} if act.delay else {})

        await self._create(act.how, act.strategy, act.work, body)

    async def _create(
        self, how: str, strategy: str, work: Work | None, body: Callable[[str], dict[str, Any]]
    ) -> None:
        """Create a run, each try under a label of its own; one whose answer was lost is looked for by that."""
        self._newest = None
        while True:
            asked = self._ask(how, strategy, work)
            _, client = self._callers.any(self._chance, self._n)
            given = body(asked.label)
            try:
                made = await client.runs.create(
                    self._thread, GRAPH, metadata={"label": asked.label}, stream_resumable=True, **given
                )
            except FAILURES as error:
                asked.problem = repr(error)
                if status_of(error) == 409 and strategy == "reject":
                    asked.outcome, asked.answered_at = "refused", now()
                    return
                if (code := status_of(error)) is not None and 400 <= code < 500 and code != 429:
                    self._record.problems.append(f"{asked.label} was refused: {error!r}")
                    return
                await self._pause(f"creating {asked.label}: {error!r}")
                if await self._found(asked):
                    return
                continue
            asked.outcome, asked.answered_at, asked.run_id = "accepted", now(), made["run_id"]
            self._newest = asked
            return

    async def _found(self, asked: Asked) -> bool:
        """Whether a request whose answer was lost has made a run: then it is accepted after all."""

        async def look(client: LangGraphClient) -> list[Any]:
            try:
                return cast("list[Any]", await client.runs.list(self._thread, limit=100))
            except APIError as error:
                if status_of(error) != 404:  # the run would have made the thread too
                    raise
                return []

        for run in await self._patiently(look):
            if (run["metadata"] or {}).get("label") == asked.label:
                asked.outcome, asked.answered_at, asked.run_id = "accepted", now(), run["run_id"]
                self._newest = asked
                return True
        return False

    async def _publish(self, act: Post) -> None:
        asked = self._ask("nats", act.strategy, act.work)
        request = RunRequest(
            assistant_id=GRAPH,
            thread_id=cast(Any, self._thread),
            input=input_of(asked.label, act.work),
            metadata={"label": asked.label},
            multitask_strategy=cast(Any, act.strategy),
            durability=cast(Any, act.durability),
            stream_mode=["custom"],
        )
        try:
            await self._bus.publish(SOURCE, request, message_id=asked.label, timeout_secs=self._left())
        except TreadleError as error:
            asked.problem = repr(error)
            self._record.problems.append(f"{asked.label} was not stored by NATS: {error}")
            return
        asked.outcome = "stored"  # `answered_at` stays open: durable requests are accepted in no order

    async def _answer(self, act: Answer) -> None:
        """Wait for the run before, and answer what it asked, if it came to that."""
        await self._join()

        async def look(client: LangGraphClient) -> str:
            return (await client.threads.get(self._thread))["status"]

        if await self._patiently(look) == "interrupted":
            given = {
                "command": {"resume": "yes"},
                "multitask_strategy": "enqueue",
                "durability": act.durability,
                "stream_mode": ["custom"],
            }
            await self._create("create", "enqueue", None, lambda _: given)

    async def _join(self) -> None:
        if self._newest is None or self._newest.run_id is None:
            return
        run_id = self._newest.run_id

        async def join(client: LangGraphClient) -> None:
            try:
                await client.runs.join(self._thread, run_id)
            except APIError as error:
                if status_of(error) != 404:  # it was rolled back
                    raise

        await self._patiently(join)

    async def _cancel(self, act: Cancel) -> None:
        if self._newest is None or self._newest.run_id is None:
            return
        run_id = self._newest.run_id
        while True:
            cancelled = Cancelled(run_id, act.action, now())
            self._record.cancelled.append(cancelled)
            _, client = self._callers.any(self._chance, self._n)
            try:
                await client.runs.cancel(self._thread, run_id, wait=act.wait, action=act.action)
            except FAILURES as error:
                cancelled.answered_at, cancelled.problem = now(), repr(error)
                if status_of(error) in (404, 409):
                    cancelled.accepted = was_told_where_to_wait(error)
                    cancelled.refused = not cancelled.accepted
                    return
                await self._pause(f"cancelling {run_id}: {error!r}")
                continue
            cancelled.answered_at, cancelled.accepted = now(), True
            return

    async def _follow(self, act: Post) -> None:
        """Read a run to its end; hang up where the script says so, and come back to another process."""
        if self._newest is None or self._newest.run_id is None:
            return
        followed = Followed(self._newest.run_id)
        self._record.followed.append(followed)
        hang_ups, url = list(act.hang_ups), ""
        while not followed.ended:
            url, client = self._callers.any(self._chance, self._n, other_than=url)
            followed.connections += 1
            followed.at = url
            stream = client.runs.join_stream(self._thread, followed.run_id, last_event_id=followed.last_id)
            try:
                followed.ended = await read_some(stream, followed, hang_ups)
            except FAILURES as error:
                followed.problems.append(repr(error))
                if status_of(error) == 404:  # it was rolled back
                    return
                await self._pause(f"following {followed.run_id}: {error!r}")
            finally:
                followed.at = ""

    async def _patiently(self, ask: Callable[[LangGraphClient], Awaitable[T]]) -> T:
        while True:
            _, client = self._callers.any(self._chance, self._n)
            try:
                return await ask(client)
            except FAILURES as error:
                await self._pause(repr(error))

    def _left(self) -> float:
        return max(1.0, self._until - time.monotonic())

    async def _pause(self, problem: str) -> None:
        if time.monotonic() > self._until:
            raise TimeoutError(problem)
        await asyncio.sleep(PAUSE_SECS)


async def read_some(stream: AsyncIterator[StreamPart], followed: Followed, hang_ups: list[int]) -> bool:
    """Read until the stream ends (True), or the next moment to hang up has come."""
    try:
        async for part in stream:
            if part.id:
                followed.parts.append((part.id, part.event, cast(Any, part.data)))
            if hang_ups and len(followed.parts) >= hang_ups[0]:
                hang_ups.pop(0)
                return False
        return True
    finally:
        await cast(Any, stream).aclose()


def input_of(label: str, work: Work) -> dict[str, Any]:
    return {
        "label": label,
        "steps": work.steps,
        "secs": work.secs,
        "events": work.events,
        "ask": work.ask,
        "harm": work.harm,
        "dose": work.dose,
        "at": 0,
    }


class Load:
    """All clients of a round."""

    def __init__(self, site: Site, bus: Bus, record: Record, scripts: list[Script], scale: Scale) -> None:
        self._callers = Callers(site)
        self._bus = bus
        self._record = record
        self._scripts = scripts
        self._scale = scale

    async def prepare(self) -> None:
        """Make the threads, before anything strikes."""
        chance = random.Random(0)

        async def make(n: int, script: Script) -> None:
            _, client = self._callers.any(chance, n)
            await client.threads.create(thread_id=script.thread_id, if_exists="do_nothing")

        await asyncio.gather(*(make(n, script) for n, script in enumerate(self._scripts)))

    async def run(self) -> None:
        until = time.monotonic() + self._scale.load_secs + self._scale.outage_secs + PATIENCE_SECS
        async with asyncio.TaskGroup() as tasks:
            for n, script in enumerate(self._scripts):
                for client in range(len(script.clients)):
                    load = ThreadLoad(n, script, client, self._callers, self._bus, self._record, until)
                    tasks.create_task(load.run(), name=f"load-{n}-{client}")

    async def bring_in(self, name: str, thread_id: str, work: Work) -> None:
        """A run that does harm, with two behind it, on a thread that was made for it."""
        behind = Post(0, Work(1, 0.0))
        script = Script(thread_id, [[Post(0, work), behind, behind]])
        until = time.monotonic() + self._scale.outage_secs + PATIENCE_SECS
        await ThreadLoad(0, script, 0, self._callers, self._bus, self._record, until, name).run()

    async def close(self) -> None:
        await self._callers.close()


@asynccontextmanager
async def open_load(site: Site, record: Record, scripts: list[Script], scale: Scale) -> AsyncGenerator[Load]:
    async with connect(site.nats_url) as bus:
        load = Load(site, bus, record, scripts, scale)
        try:
            yield load
        finally:
            await load.close()
