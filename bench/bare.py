"""Bare langgraph with the stock Postgres saver: `python -m bench.bare DSN`.

What a user has who serves graphs with nothing but langgraph, in one process: no queue, no lease, no HTTP. Reads names of
scenarios from its standard input, one per line, and answers each with its figures, as one line of JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import uvloop
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from bench import graphs
from bench.lines import answer
from bench.load import INPUT, LOOPS, ONE_STREAM_EVENTS, Figures, Loop, closed_loop

CONNECTIONS = 16


class Bare:
    """The graphs of the benchmark, with a checkpointer."""

    def __init__(self, saver: AsyncPostgresSaver) -> None:
        names = ("echo", "chain", "stream")
        self._graphs: dict[str, Any] = {
            name: getattr(graphs, name).copy({"checkpointer": saver}) for name in names
        }

    async def play(self, scenario: str) -> Figures:
        """One pass of a scenario, of the same work as in bench/load.py."""
        if scenario == "stream_one":
            return await self._stream(ONE_STREAM_EVENTS)
        return await self._loop(LOOPS[scenario])

    async def warm_up(self) -> None:
        for graph in ("echo", "chain"):
            await self._loop(Loop(graph, clients=CONNECTIONS, per_client=2))
        await self._stream(10)

    async def _loop(self, loop: Loop) -> Figures:
        graph = self._graphs[loop.graph]

        async def open_thread() -> Callable[[], Awaitable[object]]:
            return partial(graph.ainvoke, INPUT, _new_thread())

        return await closed_loop(loop, open_thread)

    async def _stream(self, n: int) -> Figures:
        start, came = time.perf_counter(), list[float]()
        asked = {"n": n, "delay": 0.0}
        async for _ in self._graphs["stream"].astream(asked, _new_thread(), stream_mode="custom"):
            came.append(time.perf_counter())
        return {"first_event_ms": 1e3 * (came[0] - start), "events_per_s": n / (came[-1] - start)}


def _new_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4())}}


async def main(dsn: str) -> None:
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool[AsyncConnection[DictRow]](
        dsn, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=kwargs
    ) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        bare = Bare(saver)
        await bare.warm_up()
        await answer(bare.play)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
