"""The course of the benchmark.

In each round `treadle dev` starts on a new data directory, where memory and idle streams are looked at while the processes are new,
and on the old one. The last of these servers plays the scenarios, in turns with the others. The queue comes last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from bench.cpu import cpu_seconds, since
from bench.depth import compare, open_queues
from bench.idle import allow_open_files, idle_streams
from bench.load import (
    RUNS,
    SCENARIOS,
    Figures,
    ScenarioFailed,
    failures_named,
    medians,
    open_clients,
    warm_up,
)
from bench.memory import at_rest, processes
from bench.players import Player, open_floor, open_server
from bench.progress import Progress
from bench.record import Measured, Played, Times
from bench.scratch import scratch_dir
from bench.server import Size, TreadleDev

# Those of `treadle dev` alone, which take more than a client.
INSIDE = ("idle_streams", "queue_depth", "memory")
ALL = (*SCENARIOS, *INSIDE)


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often.

    Attributes:
        scenarios: some of `ALL`, each once.
        peer: the URL of another server to compare with; None: there is none.
    """

    scenarios: Sequence[str]
    rounds: int
    size: Size
    peer: str | None = None

    @property
    def steps(self) -> int:
        return (2 + len(self.scenarios)) * self.rounds + ("queue_depth" in self.scenarios)


async def measure(plan: Plan, progress: Progress) -> Measured:
    """Carry out the plan.

    Raises:
        DevFailed: `treadle dev` did not start or stop.
        ScenarioFailed: not even a warm-up succeeded.
    """
    allow_open_files()
    return await Benchmark(plan, progress).run()


class Benchmark:
    """One run of the benchmark, and what it has measured so far."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress
        self._measured = Measured(Times([], [], []), Played(), Played(), Played())

    async def run(self) -> Measured:
        rounds = self._plan.rounds
        for number in range(1, rounds + 1):
            with scratch_dir() as directory:
                of_rounds = f"(round {number} of {rounds})"
                self._progress.step(f"start on a new data directory {of_rounds}")
                async with self._started(directory, self._measured.times.new_dir) as dev:
                    await self._look_inside(dev, of_rounds)
                self._progress.step(f"start on an old data directory {of_rounds}")
                async with self._started(directory, self._measured.times.old_dir) as dev:
                    if number == rounds:
                        await self._compare(dev)
        if "queue_depth" in self._plan.scenarios:
            with self._failing("queue_depth"):
                await self._compare_queues()
        return self._in_order()

    @asynccontextmanager
    async def _started(self, directory: Path, ready: list[float]) -> AsyncGenerator[TreadleDev]:
        async with TreadleDev(directory / "data", directory / "log", self._plan.size) as dev:
            ready.append(dev.ready_secs)
            self._progress.say(f"  ready after {dev.ready_secs:.1f} s")
            yield dev
            stop = await dev.stop()
        self._measured.times.stop.append(stop)
        self._progress.say(f"  stopped after {stop:.1f} s")

    def _in_order(self) -> Measured:
        """What was measured, in the order of the plan."""
        treadle = self._measured.treadle
        figures = {name: treadle.figures[name] for name in self._plan.scenarios if name in treadle.figures}
        return replace(self._measured, treadle=replace(treadle, figures=figures))

    async def _look_inside(self, dev: TreadleDev, of_rounds: str) -> None:
        """What only a new process tells: the memory that it takes when it has served a few runs, and what streams add to it."""
        chosen = [name for name in ("memory", "idle_streams") if name in self._plan.scenarios]
        if not chosen:
            return
        async with open_clients([dev.url], headers={}) as [client]:
            await warm_up(client)
            for name in chosen:
                self._progress.step(f"{name} {of_rounds}")
                with self._failing(name), failures_named(name, client):
                    if name == "memory":
                        self._keep(name, await at_rest(dev.process))
                    else:
                        self._keep(name, await idle_streams(client, processes(dev.process, "treadle_api")))

    async def _compare_queues(self) -> None:
        self._progress.step("fill queues")
        async with open_queues() as queues:
            for number in range(1, self._plan.rounds + 1):
                self._progress.step(f"queue_depth (round {number} of {self._plan.rounds})")
                self._keep("queue_depth", await compare(*queues))

    def _keep(self, name: str, figures: Figures) -> None:
        self._measured.treadle.figures.setdefault(name, []).append(figures)
        self._progress.say(f"  {said(figures)}")

    @contextmanager
    def _failing(self, name: str) -> Generator[None]:
        """A scenario that fails has no figures, but a reason."""
        try:
            yield
        except ScenarioFailed as failure:
            self._measured.treadle.failures[name] = str(failure)
            self._measured.treadle.figures.pop(name, None)
            self._progress.say(f"  failed: {failure}")

    async def _compare(self, dev: TreadleDev) -> None:
        """The scenarios, by all who can play them."""
        scenarios = [name for name in self._plan.scenarios if name in SCENARIOS]
        if not scenarios:
            return
        async with AsyncExitStack() as stack:
            measured = self._measured
            players: list[tuple[str, Player, Played]] = [
                ("bare", await stack.enter_async_context(open_floor()), measured.bare),
                (
                    "Treadle",
                    await stack.enter_async_context(open_server(dev.url, dev.process)),
                    measured.treadle,
                ),
            ]
            if self._plan.peer is not None:
                peer = await stack.enter_async_context(open_server(self._plan.peer))
                players.append(("peer", peer, measured.peer))
            for name in scenarios:
                await self._play(name, [Turns(name, *each) for each in players if name in each[1].scenarios])

    async def _play(self, name: str, turns: Sequence[Turns]) -> None:
        """All rounds of a scenario. In each all play right after one another: the machine's speed drifts."""
        for number in range(1, self._plan.rounds + 1):
            self._progress.step(f"{name} (round {number} of {self._plan.rounds})")
            for turn in turns:
                await turn.play()
        for turn in turns:
            self._progress.say(f"  {turn.summary()}")


class Turns:
    """One player's turns at a scenario; one that has failed is not tried again."""

    def __init__(self, scenario: str, name: str, player: Player, played: Played) -> None:
        self._scenario = scenario
        self._name = name
        self._player = player
        self._played = played

    async def play(self) -> None:
        if self._scenario in self._played.failures:
            return
        before = self._cpu_seconds()
        try:
            figures = await self._player.turn.play(self._scenario)
        except ScenarioFailed as failure:
            self._played.failures[self._scenario] = str(failure)
            self._played.figures.pop(self._scenario, None)
            return
        used = since(before, self._cpu_seconds())
        per_run = {program: 1e3 * secs / RUNS[self._scenario] for program, secs in used.items()}
        self._played.figures.setdefault(self._scenario, []).append(figures)
        self._played.cpu_ms.setdefault(self._scenario, []).append(per_run)

    def summary(self) -> str:
        """What came of them, in a line."""
        if failure := self._played.failures.get(self._scenario):
            return f"{self._name} failed: {failure}"
        figures = medians(self._played.figures[self._scenario])
        return f"{self._name}: {said(figures)}"

    def _cpu_seconds(self) -> dict[str, float]:
        used: dict[str, float] = {}
        for root in self._player.roots:
            used |= cpu_seconds(root)
        return used


def said(figures: Figures) -> str:
    return ", ".join(f"{key} {value:.2f}" for key, value in figures.items())
