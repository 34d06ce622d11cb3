"""The course of the benchmark: starts and stops first, then the scenarios on the last server started."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Client, Figures, ScenarioFailed, medians, open_clients, play, warm_up
from bench.progress import Progress
from bench.record import Measured, Times
from bench.server import Size, TreadleDev


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often."""

    scenarios: Sequence[str]
    rounds: int
    size: Size

    @property
    def steps(self) -> int:
        return 2 * self.rounds + len(self.scenarios) * self.rounds


async def measure(plan: Plan, progress: Progress) -> Measured:
    """Carry out the plan.

    Raises:
        DevFailed: `treadle dev` did not start or stop.
        ScenarioFailed: not even the warm-up succeeded.
    """
    return await Benchmark(plan, progress).run()


class Benchmark:
    """One run of the benchmark, and what it has measured so far."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress
        self._measured = Measured(Times([], [], []), {}, {})

    async def run(self) -> Measured:
        rounds = self._plan.rounds
        for number in range(1, rounds + 1):
            with _temporary_dir() as directory:
                of_rounds = f"(round {number} of {rounds})"
                self._progress.step(f"start on a new data directory {of_rounds}")
                await self._start(directory, self._measured.times.new_dir)
                self._progress.step(f"start on an old data directory {of_rounds}")
                await self._start(directory, self._measured.times.old_dir, load=number == rounds)
        return self._measured

    async def _start(self, directory: Path, ready: list[float], *, load: bool = False) -> None:
        async with TreadleDev(directory / "data", directory / "log", self._plan.size) as dev:
            ready.append(dev.ready_secs)
            self._progress.say(f"  ready after {dev.ready_secs:.1f} s")
            if load:
                await self._load(dev.url)
            stop = await dev.stop()
        self._measured.times.stop.append(stop)
        self._progress.say(f"  stopped after {stop:.1f} s")

    async def _load(self, url: str) -> None:
        async with open_clients([url], headers={}) as [client]:
            await warm_up(client)
            for index, name in enumerate(self._plan.scenarios, 1):
                await self._play(client, name, f"scenario {index} of {len(self._plan.scenarios)}: {name}")

    async def _play(self, client: Client, name: str, title: str) -> None:
        """All rounds of a scenario; one that has failed is not tried again."""
        played: list[Figures] = []
        try:
            for number in range(1, self._plan.rounds + 1):
                self._progress.step(f"{title} (round {number} of {self._plan.rounds})")
                played.append(await play(name, client))
        except ScenarioFailed as failure:
            self._measured.failures[name] = str(failure)
            self._progress.say(f"  failed: {failure}")
            return
        self._measured.figures[name] = played
        self._progress.say("  " + ", ".join(f"{key} {value:.2f}" for key, value in medians(played).items()))


@contextmanager
def _temporary_dir() -> Generator[Path]:
    """Open to passers-by: Postgres runs as another user when the benchmark runs as root."""
    with tempfile.TemporaryDirectory(prefix="treadle-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory
