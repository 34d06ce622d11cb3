"""What clients that never read cost the others: `python -m bench.silent [--rounds 3] [--readers 400] [--silent 100]`.

Starts real servers, an API and a worker, and lets runs tell megabytes to clients that read, alone and beside others that do
not. The figures are the seconds until all readers have everything, and by how much the memory of the API grew, at the most.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.chaos.listeners import deaf, listen
from tests.chaos.raw import resident_mib
from tests.stack import Service, running_stack

from bench.load import positive

SETTINGS = {"N_JOBS_PER_WORKER": "30", "TREADLE_STREAM_STALL_SECS": "60"}


@dataclass(frozen=True)
class Load:
    """So many runs, and the events of each: how many, of how many bytes."""

    runs: int
    count: int
    size: int


LOADS = {
    "20 runs of 2 MB": Load(20, 1000, 2000),
    "one run of 2 MB": Load(1, 1000, 2000),
    "one run of 4 events of 1 MB": Load(1, 4, 1_000_000),
}


async def flood(api: Service, load: Load, readers: int, silent: int) -> tuple[float, float]:
    """Seconds until all readers have everything, and MiB that the API has more at the most."""
    with tempfile.TemporaryDirectory() as folder:
        gate, before, peak = Path(folder) / "gate", resident_mib(api.pid), 0.0
        paths = [await _begin(api, load, gate) for _ in range(load.runs)]
        async with AsyncExitStack() as stack:
            listeners = [await listen(api.port, paths[n % load.runs]) for n in range(readers)]
            for n in range(silent):
                await stack.enter_async_context(deaf(api.port, paths[n % load.runs]))
            began = time.monotonic()
            gate.touch()
            while not all(listener.ended.done() for listener in listeners):
                peak = max(peak, resident_mib(api.pid) - before)
                await asyncio.sleep(0.05)
            secs = time.monotonic() - began
    assert all(len(listener.ids) == load.count + 1 for listener in listeners)
    return secs, peak


async def _begin(api: Service, load: Load, gate: Path) -> str:
    thread = (await api.client.threads.create())["thread_id"]
    told = {"count": load.count, "size": load.size, "gate": str(gate)}
    run = await api.client.runs.create(thread, "flooding", input=told, stream_mode=["custom"])
    return f"/threads/{thread}/runs/{run['run_id']}/stream"


async def main(rounds: int, readers: int, silent: int) -> None:
    for name, load in LOADS.items():
        figures: dict[int, list[tuple[float, float]]] = {0: [], silent: []}
        async with running_stack("api", "worker", **SETTINGS) as stack:
            api = stack.services("api")[0]
            await flood(api, load, readers, 0)
            for _ in range(rounds):
                for number, each in figures.items():
                    each.append(await flood(api, load, readers, number))
        for number, each in figures.items():
            secs, grown = median(secs for secs, _ in each), max(mib for _, mib in each)
            print(
                f"{name}: {readers} readers beside {number} that do not read: {secs:.2f} s, {grown:+.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, default in (("--rounds", 3), ("--readers", 400), ("--silent", 100)):
        parser.add_argument(option, type=positive, default=default)
    asked = parser.parse_args()
    asyncio.run(main(asked.rounds, asked.readers, asked.silent))
