#!/usr/bin/env python3
"""Where the time goes on the three hottest paths: `python -m bench.profiles`.

Plays a scenario on a `treadle dev` of its own while py-spy (a program that has to be there) samples the process that does most for
it, and writes what part of the CPU each library and part of Treadle takes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.load import Client, ScenarioFailed, open_clients, play, warm_up
from bench.machine import this_machine, this_source
from bench.memory import processes
from bench.progress import Progress, progress_of
from bench.report import place_and_time, table, write_between
from bench.scratch import scratch_dir
from bench.server import Size, TreadleDev
from treadle.errors import TreadleError

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- profiles: written by `python -m bench.profiles` -->", "<!-- end of profiles -->"
PER_SEC = 200
# Every sample of the loop that serves has this frame; those of threads that rest have not.
SERVING = "run (uvloop/"
# A part is what the innermost frame belongs to that has one of its marks; the first that fits.
PARTS: Sequence[tuple[str, Sequence[str]]] = (
    ("asyncpg: statements on their way to Postgres and back", ("(asyncpg/",)),
    ("redis: live events", ("(redis/", "(treadle/streaming/")),
    ("nats: wake-ups and acknowledgements", ("(nats/", "(treadle/messaging/")),
    (
        "langgraph and langchain: the graph itself",
        ("(pregel/", "(langgraph/", "(langchain_core/", "(graph/", "(channels/"),
    ),
    ("checkpoints: what is written of them", ("(treadle/checkpoint/", "(postgres/", "(serde/")),
    ("uvicorn: HTTP on the wire", ("(uvicorn/",)),
    ("litestar: routing, arguments, answers", ("(litestar/",)),
    ("Treadle's own steps", ("(treadle_api/", "(treadle_worker/", "(treadle/")),
)
REST = "the event loop, and what no part calls"


@dataclass(frozen=True)
class HotPath:
    """A scenario, and the service that it costs most."""

    title: str
    scenario: str
    service: str


HOT_PATHS = (
    HotPath("Accepting runs", "burst", "treadle_api"),
    HotPath("Executing short runs", "wait_runs", "treadle_worker"),
    HotPath("Streaming", "stream_many", "treadle_worker"),
)


class NoProfile(TreadleError):
    """py-spy is not there, or saw nothing."""


async def profiled(path: HotPath, secs: float, progress: Progress) -> Counter[str]:
    """Samples by part, of so many seconds of a scenario.

    Raises:
        DevFailed, ScenarioFailed, NoProfile: as they say.
    """
    with scratch_dir() as directory:
        async with (
            TreadleDev(directory / "data", directory / "log", Size(workers=1, jobs_per_worker=10)) as dev,
            open_clients([dev.url], headers={}) as [client],
        ):
            await warm_up(client)
            progress.step(f"{path.title.lower()}: {path.scenario}, {path.service}")
            [process] = processes(dev.process, path.service)[:1]
            stacks = directory / "stacks"
            await _play_under(process.pid, stacks, secs, client, path.scenario)
            return by_part(stacks.read_text(encoding="utf-8").splitlines())


async def _play_under(pid: int, stacks: Path, secs: float, client: Client, scenario: str) -> None:
    """Play the scenario again and again until py-spy has seen enough."""
    program = shutil.which("py-spy")
    if program is None:
        raise NoProfile("py-spy is not there: install it beside Treadle (`pip install py-spy`).")
    spy = await asyncio.create_subprocess_exec(
        *(program, "record", "--pid", str(pid), "--duration", f"{secs:g}", "--rate", str(PER_SEC)),
        *("--format", "raw", "--output", str(stacks)),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    while spy.returncode is None:
        await play(scenario, client)
    if spy.returncode != 0:
        raise NoProfile(f"py-spy ended with exit code {spy.returncode}: may it look into other processes?")


def by_part(stacks: Iterable[str]) -> Counter[str]:
    """Count the samples of each part; a line is `outermost;...;innermost count`, a frame `function (file:line)`."""
    counted: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        _, serving, within = stack.partition(SERVING)
        if serving:
            counted[_part(within.split(";"))] += int(count)
    return counted


def _part(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for part, marks in PARTS:
            if any(mark in frame for mark in marks):
                return part
    return REST


def shares(counted: Counter[str]) -> str:
    total = counted.total()
    rows = [
        [part, f"{100 * count / total:.0f} %"]
        for part, count in counted.most_common()
        if count * 100 >= total
    ]
    return table(["part", "of the process"], rows)


async def _measure(secs: float, progress: Progress) -> list[str]:
    blocks: list[str] = []
    for path in HOT_PATHS:
        counted = await profiled(path, secs, progress)
        if not counted:
            raise NoProfile(f"py-spy saw {path.service} do nothing.")
        what = f"**{path.title}** (`{path.scenario}`, {path.service.removeprefix('treadle_')}):"
        blocks += [what, shares(counted)]
    return blocks


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Profile the three hottest paths.")
    parser.add_argument("--secs", type=float, default=10.0, help="how long each is watched [10]")
    parser.add_argument("--print-only", action="store_true", help="write no file")
    options = parser.parse_args()
    machine, source = this_machine(), this_source()
    try:
        with progress_of(len(HOT_PATHS)) as progress:
            blocks = asyncio.run(_measure(options.secs, progress))
        blocks.append(place_and_time(f"{datetime.now(UTC):%Y-%m-%d}", source, machine))
        print("\n" + "\n\n".join(blocks))
        if not options.print_only:
            write_between(PAGE, BEGIN, END, blocks)
    except (TreadleError, ScenarioFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
