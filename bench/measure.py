"""The course of the benchmark: starts and stops first, then the scenarios on the last server started."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cpu import cpu_seconds, since
from bench.load import RUNS, ScenarioFailed, medians
from bench.players import Player, open_floor, open_server
from bench.progress import Progress
from bench.record import Measured, Played, Times
from bench.scratch import scratch_dir
from bench.server import Size, TreadleDev


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often.

    Attributes:
        peer: the URL of another server to compare with; None: there is none.
    """

    scenarios: Sequence[str]
    rounds: int
    size: Size
    peer: str | None = None

    @property
    def steps(self) -> int:
        return 2 * self.rounds + len(self.scenarios) * self.rounds


async def measure(plan: Plan, progress: Progress) -> Measured:
    """Carry out the plan.

    Raises:
        DevFailed: `treadle dev` did not start or stop.
        ScenarioFailed: not even a warm-up succeeded.
    """
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
                async with self._started(directory, self._measured.times.new_dir):
                    pass
                self._progress.step(f"start on an old data directory {of_rounds}")
                async with self._started(directory, self._measured.times.old_dir) as dev:
                    if number == rounds:
                        await self._compare(dev)
        return self._measured

    @asynccontextmanager
    async def _started(self, directory: Path, ready: list[float]) -> AsyncGenerator[TreadleDev]:
        async with TreadleDev(directory / "data", directory / "log", self._plan.size) as dev:
            ready.append(dev.ready_secs)
            self._progress.say(f"  ready after {dev.ready_secs:.1f} s")
            yield dev
            stop = await dev.stop()
        self._measured.times.stop.append(stop)
        self._progress.say(f"  stopped after {stop:.1f} s")

    async def _compare(self, dev: TreadleDev) -> None:
        """The scenarios, by all who can play them."""
        if not self._plan.scenarios:
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
            for index, name in enumerate(self._plan.scenarios, 1):
                turns = [Turns(name, *player) for player in players if name in player[1].scenarios]
                await self._play(turns, f"scenario {index} of {len(self._plan.scenarios)}: {name}")

    async def _play(self, turns: Sequence[Turns], title: str) -> None:
        """All rounds of a scenario. In each all play right after one another: the machine's speed drifts."""
        for number in range(1, self._plan.rounds + 1):
            self._progress.step(f"{title} (round {number} of {self._plan.rounds})")
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
        return f"{self._name}: " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items())

    def _cpu_seconds(self) -> dict[str, float]:
        used: dict[str, float] = {}
        for root in self._player.roots:
            used |= cpu_seconds(root)
        return used
