"""The simulation: a fleet's sessions on real servers, real API processes, a real scheduler and real workers, counted.

What is real: Postgres, NATS and Valkey; the API processes and the scheduler; each worker, with its slots, its lease thread and
all of its connections; the runs, which are graphs of langgraph with checkpoints; the streams of their clients. What is not: the
graph sleeps, all of it is on one machine, and the workers are forked from one process (`workers.py`).

It goes through four spans, each counted by itself:

    idle     no runs: connections at rest, and what waiting for work costs
    begin    the runs begin, evenly
    quiet    all are on, and say nothing: leases
    talk     all are on, and say a word now and then: events
    end      they end, evenly
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.progress import Progress
from bench.scale.clients import Tally, begin, join
from bench.scale.counters import Counters, Counts, memory_mib
from bench.scale.fleet import Fleet
from bench.scale.graphs import MOMENTS_FILE, Moments
from bench.scale.servers import fleet_servers
from bench.server import HOST, free_port
from bench.services import environment, module, service
from treadle.dev.readiness import until_ok
from treadle.errors import TreadleError
from treadle.migrate import migrate

CONFIG = Path(__file__).with_name("langgraph.json")
WORKERS = "bench.scale.workers"
READY_SECS = 90.0
BEGIN_SECS = 60.0
# What these write to their logs then.
READY_WORKER, READY_SCHEDULER = "slots on route", "scheduler ready"
STEPS = 7
# Backends of Postgres tell what they have counted when they have rested for so long.
SETTLE_SECS = 5.0
SAMPLE_SECS = 2.0
AT_ONCE = 64


class Failed(TreadleError):
    """The simulation did not come to figures."""


@dataclass(frozen=True)
class Spans:
    """Seconds of each span; `begin` at the least. `every`: between two words of a run in `talk`."""

    idle: float = 15.0
    begin: float = 100.0
    quiet: float = 20.0
    talk: float = 20.0
    end: float = 60.0
    every: float = 10.0

    @property
    def words(self) -> float:
        """That a run says in all."""
        return (self.every + self.talk) / self.every


class Simulated(msgspec.Struct, frozen=True):
    """What was counted in each span, and found at moments."""

    at_rest: Counts
    idle: Counts
    begin: Counts
    held: Counts
    quiet: Counts
    talk: Counts
    all: Counts
    most_connections: int
    memory_mib: dict[str, float]
    frames: dict[str, float]


@dataclass
class Stage:
    """What the simulation goes on with once everything runs."""

    fleet: Fleet
    spans: Spans
    ports: list[int]
    counters: Counters
    progress: Progress
    moments: Path
    tally: Tally = field(default_factory=Tally)
    most_connections: int = 0


async def simulate(fleet: Fleet, spans: Spans, progress: Progress) -> Simulated:
    """Play it through.

    Raises:
        Failed, ServiceFailed: a part did not do what it is there for, or not in time.
    """
    async with _running(fleet, spans, progress) as stage:
        watching = asyncio.create_task(_watch_connections(stage), name="connections")
        try:
            return await _play(stage)
        finally:
            watching.cancel()


async def _play(stage: Stage) -> Simulated:
    counters, spans, fleet, say = stage.counters, stage.spans, stage.fleet, stage.progress.say
    stage.progress.step("idle")
    await asyncio.sleep(SETTLE_SECS)
    started = await counters.read()
    await asyncio.sleep(max(spans.idle, fleet.lease_secs / 2))  # lease threads connect with their first beat
    idle = (at_rest := await counters.read()).since(started)

    stage.progress.step(f"begin {fleet.sessions:,} runs")
    began = time.time()
    await _begin_sessions(stage)
    say(f"  the last was accepted after {time.time() - began:.0f} s")
    await _when(lambda: _all_on(stage), BEGIN_SECS, "not all runs began")
    await asyncio.sleep(SETTLE_SECS)
    held = await counters.read()

    stage.progress.step(f"{fleet.sessions:,} runs are on, and quiet")
    beats = stage.tally.heartbeats
    await asyncio.sleep(spans.quiet)
    quiet = (hushed := await counters.read()).since(held)
    heartbeats = (stage.tally.heartbeats - beats) / quiet.at
    memory = await asyncio.to_thread(memory_mib)

    stage.progress.step("they talk")
    moments = _tell_moments(stage)
    # First words are spread over one interval, in which nothing is counted.
    await _until(moments.talk + spans.every)
    talking, frames = await counters.read(), stage.tally.frames
    await asyncio.sleep(spans.talk - SETTLE_SECS)
    talk = (await counters.read()).since(talking)
    frames_per_sec = (stage.tally.frames - frames) / talk.at

    stage.progress.step("they end")
    await _until(moments.over)
    await _when(lambda: _all_ended(stage), READY_SECS, "the runs did not end")
    if failed := await counters.failed():
        raise Failed(f"{failed} runs failed, or were begun more than once.")
    await asyncio.sleep(2 * SETTLE_SECS)
    all_of_it = (await counters.read()).since(at_rest)
    return Simulated(
        at_rest,
        idle,
        held.since(at_rest),
        hushed,
        quiet,
        talk,
        all_of_it,
        stage.most_connections,
        dict(memory),
        {"per_sec": frames_per_sec, "heartbeats_per_sec": heartbeats, "all": stage.tally.frames},
    )


@asynccontextmanager
async def _running(fleet: Fleet, spans: Spans, progress: Progress) -> AsyncGenerator[Stage]:
    progress.step(f"start servers, {fleet.api_processes} API processes, {fleet.workers} workers")
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="treadle-scale-logs-")))
        servers, nats = await stack.enter_async_context(fleet_servers())
        await migrate(servers.postgres.url)
        counters, moments = await Counters.open(servers, nats), logs / "moments.json"
        stack.push_async_callback(counters.close)
        configured = environment(
            servers,
            LANGGRAPH_CONFIG=str(CONFIG),
            LOG_FORMAT="text",
            N_JOBS_PER_WORKER=str(fleet.jobs_per_worker),
            TREADLE_LEASE_SECS=str(fleet.lease_secs),
            TREADLE_DB_POOL_SIZE=str(fleet.pool_size),
            TREADLE_MAX_ACK_PENDING=str(fleet.max_ack_pending),
            **{MOMENTS_FILE: str(moments)},
        )
        ports = [free_port() for _ in range(fleet.api_processes)]
        for number, port in enumerate(ports):
            own = {**configured, "TREADLE_PORT": str(port), "TREADLE_DB_POOL_SIZE": str(fleet.api_pool_size)}
            await stack.enter_async_context(service("api", logs / f"api-{number}.log", own))
        for number in range(fleet.schedulers):
            await stack.enter_async_context(
                service("scheduler", logs / f"scheduler-{number}.log", configured)
            )
        log = logs / "workers.log"
        await stack.enter_async_context(module(WORKERS, log, configured, str(fleet.workers)))
        async with asyncio.timeout(READY_SECS):
            await asyncio.gather(*(until_ok(HOST, port) for port in ports))

        async def ready() -> bool:
            return log.read_text(errors="replace").count("slots on route") == fleet.workers

        await _when(ready, READY_SECS, "the workers did not become ready")
        yield Stage(fleet, spans, ports, counters, progress, moments)


def _tell_moments(stage: Stage) -> Moments:
    """Let the sessions know when they talk and end."""
    spans = stage.spans
    talk = time.time() + SETTLE_SECS
    talked = talk + spans.every + spans.talk
    end = talked + SETTLE_SECS
    moments = Moments(talk, talked, spans.every, end, end + spans.end)
    written = stage.moments.with_suffix(".new")
    written.write_bytes(msgspec.json.encode(moments))
    written.rename(stage.moments)
    return moments


async def _begin_sessions(stage: Stage) -> None:
    """Start the runs evenly over `spans.begin`, or as fast as it goes; with a second subscriber where there are to be more."""
    sessions, places = stage.fleet.sessions, asyncio.Semaphore(AT_ONCE)
    more, began = stage.fleet.subscribers - 1, time.time()

    async def one(number: int) -> None:
        try:
            port = stage.ports[number % len(stage.ports)]
            path = await begin(port, {"place": number / sessions}, stage.tally)
            if int((number + 1) * more) > int(number * more):
                await join(stage.ports[(number + 1) % len(stage.ports)], path, stage.tally)
        finally:
            places.release()

    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            await _until(began + number * stage.spans.begin / sessions)
            await places.acquire()
            tasks.create_task(one(number), name=f"session-{number}")


async def _watch_connections(stage: Stage) -> None:
    """Note the most connections to Postgres that there ever were at once."""
    servers = stage.counters
    while True:
        stage.most_connections = max(stage.most_connections, await servers.connections())
        await asyncio.sleep(SAMPLE_SECS)


async def _all_on(stage: Stage) -> bool:
    return await stage.counters.running() == stage.fleet.sessions


async def _all_ended(stage: Stage) -> bool:
    return await stage.counters.ended() == stage.fleet.sessions and not stage.tally.open


async def _when(true: Callable[[], Awaitable[bool]], secs: float, otherwise: str) -> None:
    try:
        async with asyncio.timeout(secs):
            while not await true():  # noqa: ASYNC110 - it is other processes that are asked
                await asyncio.sleep(0.5)
    except TimeoutError as error:
        raise Failed(f"{otherwise} in {secs:g} s.") from error


async def _until(moment: float) -> None:
    if (secs := moment - time.time()) > 0:
        await asyncio.sleep(secs)
