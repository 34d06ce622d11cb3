"""Records what a server answers: `python -m tests.e2e.reference.record URL [GROUP ...]`.

The server must serve the graphs of tests/graphs/reference.py, answers.py and messages.py. Run it against the reference
server when scenarios are added or the protocol moves on; read the differences before committing them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.e2e.reference.normal import Normaliser
from tests.e2e.reference.scenarios import GROUPS, Scenario
from tests.e2e.reference.talk import Exchange, talking

HERE = Path(__file__).parent
AT_ONCE = 5

Recording = list[dict[str, Any]]


async def played(scenario: Scenario, url: str) -> list[Exchange]:
    """What was said when a scenario was played against a server."""
    async with talking(url) as talk:
        await scenario(talk)
    return talk.exchanges


def normal(exchanges: list[Exchange]) -> Recording:
    """Exchanges in the form in which they are kept and compared."""
    normaliser = Normaliser()
    return [normaliser.normal(_plain(exchange)) for exchange in exchanges]


def recorded(group: str) -> dict[str, Recording]:
    """What the reference server answered, by scenario."""
    return json.loads((HERE / f"{group}.json").read_text(encoding="utf-8"))


def _plain(exchange: Exchange) -> dict[str, Any]:
    request = {
        "call": f"{exchange.method} {exchange.path}",
        "body": exchange.body,
        "headers": dict(exchange.headers),
    }
    answer = {"status": exchange.status, "headers": exchange.answer_headers, "body": exchange.answer}
    if exchange.events is not None:
        answer |= {"events": [list(event) for event in exchange.events]}
    kept = {name: value for name, value in request.items() if value not in (None, {}) or name == "call"}
    return {
        "asked": kept,
        "told": {name: value for name, value in answer.items() if value is not None},
    }


def text(recordings: dict[str, Recording]) -> str:
    """JSON with one line for a request, an answer, and each event."""
    scenarios = (
        f"{json.dumps(name)}: [\n" + ",\n".join(map(_exchange, exchanges)) + "\n]"
        for name, exchanges in recordings.items()
    )
    return "{\n" + ",\n".join(scenarios) + "\n}\n"


def _exchange(exchange: dict[str, Any]) -> str:
    answer = dict(exchange["told"])
    events = answer.pop("events", None)
    told = json.dumps(answer)
    if events is not None:
        lines = "".join(
            f"{',' * (number > 0)}\n   {json.dumps(event)}" for number, event in enumerate(events)
        )
        told = f'{told[:-1]}, "events": [{lines}]}}'
    return f' {{"asked": {json.dumps(exchange["asked"])},\n  "told": {told}}}'


async def _record(url: str, groups: list[str]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def recorder(scenario: Scenario) -> Recording:
        async with turns:
            return normal(await played(scenario, url))

    for group in groups:
        scenarios = GROUPS[group]
        made = dict(
            zip(
                scenarios, await asyncio.gather(*(recorder(each) for each in scenarios.values())), strict=True
            )
        )
        (HERE / f"{group}.json").write_text(text(made), encoding="utf-8")
        sys.stdout.write(f"{group}: {len(made)} scenarios, {sum(map(len, made.values()))} exchanges\n")


if __name__ == "__main__":
    asyncio.run(_record(sys.argv[1], sys.argv[2:] or list(GROUPS)))
