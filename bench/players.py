"""Those that play the scenarios, so that they can be compared: bare langgraph, Treadle, and another server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from bench.lines import Asked, asked
from bench.load import LOOPS, SCENARIOS
from bench.scratch import scratch_dir
from treadle.dev.servers import EmbeddedPostgres


@dataclass(frozen=True)
class Player:
    """Something that plays scenarios.

    Attributes:
        scenarios: those that it can play.
        turn: the process that plays them.
        roots: the processes that are at work with all below them: their CPU time is what a scenario costs.
    """

    scenarios: Collection[str]
    turn: Asked
    roots: Sequence[psutil.Process]


@asynccontextmanager
async def open_floor() -> AsyncGenerator[Player]:
    """Bare langgraph in one process, and a Postgres of the kind that `treadle dev` starts."""
    with scratch_dir() as directory:
        async with EmbeddedPostgres(directory) as postgres, asked("bench.bare", postgres.url) as bare:
            yield Player((*LOOPS, "stream_one"), bare, (bare.process, psutil.Process(postgres.pid)))


@asynccontextmanager
async def open_server(url: str, *processes: psutil.Process) -> AsyncGenerator[Player]:
    """A server behind the Agent Server HTTP API that runs already, warmed up.

    Args:
        processes: the server, if it is on this machine.

    Raises:
        ScenarioFailed: not even the warm-up succeeded.
    """
    async with asked("bench.generator", url) as generator:
        yield Player(tuple(SCENARIOS), generator, (generator.process, *processes))
