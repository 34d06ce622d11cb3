#!/usr/bin/env python3
"""How soon runs go on elsewhere: `python -m bench.recovery [--lease 2] [--kills 30] [--drains 20]`.

Starts real servers, an API, a scheduler and two workers: one has ten runs in hand, the other none. Kills the first with -9
at a random moment between its heartbeats, and measures until the first node of each run's next attempt is on in the other;
puts a new worker in the dead one's place, and does it again. The same without a scheduler, which leaves it to NATS alone,
and with SIGTERM instead, without a grace period. Fails when a figure is beyond what docs/reliability.md promises.
`--page docs/reliability.md` writes the figures between their markers there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from langgraph_sdk import get_client

from bench.load import positive
from bench.machine import Machine, Source, this_machine, this_source
from bench.report import place_and_time, table, write_between
from bench.services import environment, service, serving
from treadle.dev.servers import Servers, temporary_servers
from treadle.migrate import migrate

GRAPH = "staying"
RUNS = 10
# What is promised: after kill -9 runs go on within the lease and this, after SIGTERM within the second figure.
KILL_SECS = 2.0
DRAIN_SECS = 1.0
# Far beyond what is promised: how long it took is what we want to know.
PATIENCE_SECS = 30.0
READY = b"slots on route"
BEGIN = "<!-- recovery:begin -->"
END = "<!-- recovery:end -->"


class Mark(NamedTuple):
    """The process that a run is executed by, and since when, by this machine's clock."""

    pid: int
    since: float


class Marks(asyncio.DatagramProtocol):
    """Where each run is, as its node reports it."""

    def __init__(self) -> None:
        self.of: dict[str, Mark] = {}
        self._changed = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        told = json.loads(data)
        self.of[told["label"]] = Mark(told["pid"], told["since"])
        self._changed.set()

    async def until(self, done: Callable[[], bool], secs: float) -> None:
        async with asyncio.timeout(secs):
            while not done():
                self._changed.clear()
                await self._changed.wait()


class Fleet:
    """Two workers, of which one has all the runs, and perhaps a scheduler."""

    def __init__(self, lease_secs: float, marks: Marks, configured: dict[str, str], logs: Path) -> None:
        self._lease_secs = lease_secs
        self._marks = marks
        self._configured = configured
        self._logs = logs
        self._stack = AsyncExitStack()
        self._workers: dict[int, Process] = {}
        self._scheduler: Process | None = None
        self._started = 0

    async def close(self) -> None:
        await self._stack.aclose()

    async def schedule(self) -> None:
        """Start a scheduler."""
        log = self._logs / f"scheduler-{id(self)}.log"
        self._scheduler = await self._stack.enter_async_context(service("scheduler", log, self._configured))

    async def retire_scheduler(self) -> None:
        """Leave the runs of dead workers to NATS alone."""
        if self._scheduler is not None:
            self._scheduler.kill()
            await self._scheduler.wait()

    async def reinforce(self) -> None:
        """Start one more worker, and wait until it takes work."""
        self._started += 1
        log = self._logs / f"worker-{id(self)}-{self._started}.log"
        process = await self._stack.enter_async_context(service("worker", log, self._configured))
        async with asyncio.timeout(PATIENCE_SECS):
            while READY not in log.read_bytes():  # noqa: ASYNC110 - a file tells nobody of itself
                await asyncio.sleep(0.05)
        self._workers[process.pid] = process

    async def strike(self, number: signal.Signals) -> list[float]:
        """Send a signal to the worker with the most runs; returns the seconds until each of them went on elsewhere."""
        marks = self._marks
        pid = Counter(mark.pid for mark in marks.of.values()).most_common(1)[0][0]
        held = [label for label, mark in marks.of.items() if mark.pid == pid]
        struck = time.time()
        self._workers.pop(pid).send_signal(number)
        await marks.until(
            lambda: all(marks.of[label].pid != pid for label in held), self._lease_secs + PATIENCE_SECS
        )
        return [marks.of[label].since - struck for label in held]


@asynccontextmanager
async def fleet(logs: Path, *, lease_secs: float, scheduler: bool = True) -> AsyncGenerator[Fleet]:
    """Two workers and ten runs, which the first of them has; the rest of the services, with or without a scheduler."""
    settings = {
        "TREADLE_LEASE_SECS": str(lease_secs),
        "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
        "BG_JOB_MAX_RETRIES": "100000",
    }
    transport, marks = await asyncio.get_running_loop().create_datagram_endpoint(
        Marks, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    async with temporary_servers() as servers, _serving(servers, logs, settings) as url:
        made = Fleet(lease_secs, marks, environment(servers, **settings), logs)
        try:
            if scheduler:
                await made.schedule()
            await made.reinforce()
            for number in range(RUNS):
                await get_client(url=url).runs.create(
                    None, GRAPH, input={"port": port, "label": f"run{number}"}
                )
            await marks.until(lambda: len(marks.of) == RUNS, PATIENCE_SECS)
            await made.reinforce()
            yield made
        finally:
            await made.close()
            transport.close()


@asynccontextmanager
async def _serving(servers: Servers, logs: Path, settings: dict[str, str]) -> AsyncGenerator[str]:
    await migrate(servers.postgres.url)
    async with serving(servers, ["api"], logs, **settings) as url:
        yield url


async def kills(fleet: Fleet, count: int, lease_secs: float, chance: random.Random) -> list[float]:
    """Kill -9 at random moments between two heartbeats; the seconds over the lease, lowest first."""
    found: list[float] = []
    for _ in range(count):
        await asyncio.sleep(chance.uniform(0, lease_secs / 2))
        struck, _ = await asyncio.gather(fleet.strike(signal.SIGKILL), fleet.reinforce())
        found += [secs - lease_secs for secs in struck]
    return sorted(found)


async def drains(fleet: Fleet, count: int) -> list[float]:
    """SIGTERM again and again; the seconds from the signal, lowest first."""
    found: list[float] = []
    for _ in range(count):
        found += await fleet.strike(signal.SIGTERM)
        await fleet.reinforce()
    return sorted(found)


class Found(NamedTuple):
    """How long runs took to go on, in seconds, lowest first."""

    what: str
    secs: Sequence[float]
    promised_secs: float

    @property
    def kept(self) -> bool:
        return self.secs[-1] < self.promised_secs

    def row(self) -> list[str]:
        p50, p99 = (self.secs[min(int(len(self.secs) * part), len(self.secs) - 1)] for part in (0.5, 0.99))
        times = (f"{secs:.3f} s" for secs in (p50, p99, self.secs[-1]))
        return [self.what, f"{len(self.secs)}", *times, f"{self.promised_secs:g} s"]


def write_page(found: Sequence[Found], machine: Machine, source: Source, page: Path) -> None:
    """Put the figures between their markers; raises as `write_between` does."""
    said = (
        f"{place_and_time(f'{datetime.now(UTC):%Y-%m-%d}', source, machine)} `python -m bench.recovery`: ten runs, each in a "
        f"step that never ends, whose worker is killed at random moments between heartbeats, or told to stop."
    )
    head = ["time to the next attempt, after", "runs", "p50", "p99", "longest", "promised"]
    write_between(page, BEGIN, END, (said, table(head, [each.row() for each in found])))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lease", type=float, default=2.0, help="seconds of the short lease [2]")
    parser.add_argument("--kills", type=positive, default=30, help="with the short lease [30]")
    parser.add_argument("--long", type=float, default=30.0, help="seconds of the long lease [30]")
    parser.add_argument("--long-kills", type=int, default=6, help="with the long lease [6]")
    parser.add_argument("--drains", type=positive, default=20, help="[20]")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--page", type=Path, help="write the figures between the markers of this page")
    return parser.parse_args()


async def measured(options: argparse.Namespace) -> AsyncGenerator[Found]:
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="treadle-bench-") as folder:
        logs = Path(folder)
        for lease_secs, count in ((options.lease, options.kills), (options.long, options.long_kills)):
            for scheduler in (True, False) if count else ():
                async with fleet(logs, lease_secs=lease_secs, scheduler=scheduler) as made:
                    secs = await kills(made, count, lease_secs, chance)
                who = "scheduler and NATS" if scheduler else "NATS alone"
                yield Found(f"kill -9, over a lease of {lease_secs:g} s, {who}", secs, KILL_SECS)
        async with fleet(logs, lease_secs=options.long) as made:
            yield Found("SIGTERM, no grace period", await drains(made, options.drains), DRAIN_SECS)


async def main() -> None:
    options = arguments()
    machine, source = this_machine(), this_source()
    print(f"seed {options.seed}", flush=True)
    found: list[Found] = []
    async for each in measured(options):
        what, runs, p50, p99, longest, promised = each.row()
        print(
            f"{what:44}  {runs:>4} runs  p50 {p50}  p99 {p99}  max {longest}  promised {promised}", flush=True
        )
        found.append(each)
    if options.page is not None:
        write_page(found, machine, source, options.page)
    sys.exit(0 if all(each.kept for each in found) else 1)


if __name__ == "__main__":
    asyncio.run(main())
