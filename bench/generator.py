"""The load generator of bench/load.py in a process that is asked for one scenario after the other: `python -m bench.generator URL`."""

from __future__ import annotations

import sys

import uvloop

from bench.lines import answer, refuse
from bench.load import ScenarioFailed, open_clients, play, warm_up


async def main(url: str) -> None:
    async with open_clients([url], headers={}) as [client]:
        try:
            await warm_up(client)
        except ScenarioFailed as failure:
            refuse(failure)
            return
        await answer(lambda scenario: play(scenario, client))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
