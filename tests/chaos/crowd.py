"""A crowd of runs that one fault meets in every state: at work, waiting, being created, streamed, cancelled, finished.

Services must go on by themselves, and afterwards all has to be as if nothing had happened: see `Crowd.check`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.errors import APIStatusError, NotFoundError
from langgraph_sdk.schema import Run

from tests.stack import Stack, marks

T = TypeVar("T")

STEPS, PAUSE_SECS = 8, 0.15
THREADS = 4
# How long a run that is to be cancelled would last.
LONG = {"steps": 1000, "pause": 0.1}
AGAIN_SECS = 0.1
# The run that shows that all is well again.
PROBE = "probe"
# Whoever waits for an answer at the moment in which the network fell silent gives up after this, as clients do.
ANSWER_SECS = 3.0
AWAY = (httpx.TransportError, APIStatusError)


@dataclass
class Accepted:
    """A run that the API has answered for."""

    run_id: str
    label: str
    cancelled: bool = False


@dataclass
class Crowd:
    """Clients that go on and on until they are told that it is enough.

    Args:
        url: of the API, or of the proxy before it.
    """

    stack: Stack
    url: str
    log: Path
    uncertain: set[str] = field(default_factory=set[str])
    """Labels of runs whose creation had no answer, or an error for one: they may be there or not."""
    refused: list[int] = field(default_factory=list[int])
    """Statuses of answers that were errors."""

    def __post_init__(self) -> None:
        self.accepted: dict[str, list[Accepted]] = defaultdict(list)
        self.streamed: dict[str, list[int]] = {}
        self.enough = asyncio.Event()
        self._client = get_client(url=self.url, timeout=ANSWER_SECS)
        self._number = 0
        self.threads: list[str] = []

    async def settle_in(self) -> None:
        """Make the threads, and wait until each has a run at work."""
        self.threads = [(await self._client.threads.create())["thread_id"] for _ in range(THREADS)]
        for thread in self.threads:
            await self._create(thread)
            await self._create(thread)
        async with asyncio.timeout(15):
            while len({label for what, label, _ in marks(self.log) if what == "1"}) < THREADS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def go_on(self) -> None:
        """Create, stream and cancel runs until it is enough."""
        async with asyncio.TaskGroup() as tasks:
            for thread in self.threads:
                tasks.create_task(self._keep_creating(thread), name=f"creating-{thread}")
            tasks.create_task(self._keep_streaming(), name="streaming")
            tasks.create_task(self._keep_cancelling(), name="cancelling")

    async def finish(self, secs: float) -> None:
        """Wait until all that was accepted has ended."""
        async with asyncio.timeout(secs):
            while await self._going_on():  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_SECS)

    async def check(self, *, live: bool) -> None:
        """Nothing lost, nothing doubled, the order kept, every node once, no attempt used up.

        Args:
            live: streams have told everything too; otherwise what they told was in order, and nothing twice.
        """
        rows = await self._rows()
        found = {str(row["run_id"]): row for row in rows}
        wrong = [f"an answer had the status {status}" for status in self.refused if status not in (429, 503)]
        for thread, runs in self.accepted.items():
            for run in runs:
                wanted = "interrupted" if run.cancelled else "success"
                row = found.get(run.run_id)
                if row is None or row["status"] != wanted:
                    wrong.append(f"{run.label}: {row and (row['status'], row['error'])}, not {wanted}")
                elif row["crashes"]:
                    wrong.append(f"{run.label}: {row['crashes']} attempts used up")
            order = [run.label for run in runs if not run.cancelled]
            begun = [label for what, label, _ in marks(self.log) if label in order and what == "0"]
            if begun != order:
                wrong.append(f"thread {thread} was worked on in the order {begun}, not {order}")
        known = {run.label for runs in self.accepted.values() for run in runs}
        wrong += [
            f"{row['label']} was made, and nobody was told"
            for row in rows
            if row["label"] not in known | self.uncertain
        ]
        wrong += [
            f"{label} is there {n} times"
            for label, n in Counter(row["label"] for row in rows if row["label"] != PROBE).items()
            if n > 1
        ]
        cancelled = {run.label for runs in self.accepted.values() for run in runs if run.cancelled}
        steps = Counter((label, what) for what, label, _ in marks(self.log) if label not in cancelled)
        wrong += [f"step {what} of {label} was done {n} times" for (label, what), n in steps.items() if n > 1]
        ended = [row["label"] for row in rows if row["status"] == "success" and row["label"] != PROBE]
        wrong += [
            f"step {n} of {label} was never done"
            for label in ended
            for n in range(STEPS)
            if not steps[label, str(n)]
        ]
        wrong += [
            f"the stream of {label} told {numbers}"
            for label, numbers in self.streamed.items()
            if (numbers != list(range(STEPS)) if live else numbers != sorted(set(numbers)))
        ]
        assert not wrong, "\n".join(wrong)

    async def _keep_creating(self, thread: str) -> None:
        while not self.enough.is_set():
            await self._create(thread)
            await asyncio.sleep(0.6)

    async def _keep_streaming(self) -> None:
        while not self.enough.is_set():
            thread = await self._thread()
            run = await self._create(thread)
            self.streamed[run.label] = await self._numbers(thread, run)

    async def _keep_cancelling(self) -> None:
        while not self.enough.is_set():
            thread = await self._thread()
            run = await self._create(thread, **LONG)
            run.cancelled = True
            await asyncio.sleep(0.3)
            await self._cancel_all(thread)
            await asyncio.sleep(0.3)

    async def _create(self, thread: str, **other: Any) -> Accepted:
        while True:
            self._number += 1
            label = f"run{self._number}"
            given = {"log": str(self.log), "label": label, "steps": STEPS, "pause": PAUSE_SECS, **other}
            try:
                run: Run = await self._client.runs.create(
                    thread,
                    "enduring",
                    input=given,
                    metadata={"label": label},
                    stream_mode=["custom"],
                    stream_resumable=True,
                    multitask_strategy="enqueue",
                    durability="sync",
                )
            except AWAY as error:
                self._note(error)
                if not isinstance(error, APIStatusError):
                    self.uncertain.add(label)
                await asyncio.sleep(AGAIN_SECS)
                continue
            self.accepted[thread].append(Accepted(run["run_id"], label))
            return self.accepted[thread][-1]

    async def _numbers(self, thread: str, run: Accepted) -> list[int]:
        """What the run tells, over as many connections as it takes."""
        told: list[int] = []
        last = "-1"
        while len(told) < STEPS:
            try:
                async for part in self._client.runs.join_stream(thread, run.run_id, last_event_id=last):
                    last = part.id or last
                    if part.event == "custom":
                        told.append(cast("int", part.data["n"]))
                if await self._over(thread, run):
                    return told
            except AWAY as error:
                self._note(error)
            await asyncio.sleep(AGAIN_SECS)
        return told

    async def _over(self, thread: str, run: Accepted) -> bool:
        found = await self._again(lambda: self._client.runs.get(thread, run.run_id))
        return found["status"] not in ("pending", "running")

    async def _thread(self) -> str:
        return (await self._again(self._client.threads.create))["thread_id"]

    async def _cancel_all(self, thread: str) -> None:
        """Until it was heard: the first of two may have been, though its answer was lost. So may a run that is as long."""

        async def cancel() -> None:
            for run in await self._client.runs.list(thread):
                with suppress(NotFoundError):
                    await self._client.runs.cancel(thread, run["run_id"])

        await self._again(cancel)

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works, as a client does that knows how."""
        while True:
            try:
                return await call()
            except AWAY as error:
                self._note(error)
                await asyncio.sleep(AGAIN_SECS)

    def _note(self, error: Exception) -> None:
        if isinstance(error, APIStatusError):
            self.refused.append(error.status_code)

    async def _going_on(self) -> list[Any]:
        rows = await self._rows()
        return [row for row in rows if row["status"] in ("pending", "running")]

    async def _rows(self) -> list[Any]:
        async with self.stack.database() as database:
            return await database.fetch(
                "select run_id, status, crashes, attempt, error::text, metadata ->> 'label' as label from treadle.run order by seq"
            )


async def weather(
    stack: Stack, url: str, log: Path, strike: Awaitable[str], *, secs: float, live: bool = True
) -> None:
    """Let a fault strike among a crowd, and see what has become of it.

    Args:
        secs: how long after the fault's end all of it may take.
        live: whether the fault leaves live events in peace.
    """
    crowd = Crowd(stack, url, log)
    await crowd.settle_in()
    going = asyncio.create_task(crowd.go_on(), name="crowd")
    try:
        await asyncio.sleep(0.5)
        await strike
        crowd.enough.set()
        async with asyncio.timeout(secs):
            await probe(crowd, url)
            await going
            await crowd.finish(secs)
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    await crowd.check(live=live)


async def probe(crowd: Crowd, url: str) -> None:
    """A run without a thread, tried until one comes through."""
    crowd.uncertain.add(PROBE)
    while True:
        client = get_client(url=url, timeout=ANSWER_SECS)
        try:
            await cast(Any, client.runs).wait(None, "marked", input={}, metadata={"label": PROBE})
            return
        except AWAY:
            await asyncio.sleep(AGAIN_SECS)
        finally:
            await client.aclose()
