"""Each run has a store of its own, which goes when nobody holds it any more."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from treadle.checkpoint.pool import checkpoint_pool
from treadle.store.postgres import PostgresStore


def gathering() -> set[asyncio.Task[Any]]:
    """What waits for the operations of a store."""
    return {task for task in asyncio.all_tasks() if "langgraph/store" in str(task.get_stack(limit=1))}


@contextmanager
def complaints() -> Generator[list[dict[str, Any]]]:
    """What asyncio says in the block of tasks and callbacks that went wrong; not of what was garbage before."""
    gc.collect()
    loop, said = asyncio.get_running_loop(), list[dict[str, Any]]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: said.append(context))
    try:
        yield said
    finally:
        loop.set_exception_handler(before)


async def test_a_store_that_goes_with_a_circle_of_references_ends_what_it_has_begun(dsn: str) -> None:
    """asyncio says "Task was destroyed but it is pending!" of what the garbage collector finds before it has ended."""
    async with checkpoint_pool(dsn, size=1, service="test") as pool:
        shared = PostgresStore(pool)
        of_others = gathering()
        with complaints() as said:
            store = shared.fenced(uuid4(), 1)
            assert await store.aget(("a",), "b") is None
            assert len(gathering() - of_others) == 1
            circle: list[Any] = [store]
            circle.append(circle)
            del store, circle

            gc.collect()
            async with asyncio.timeout(10):
                while gathering() - of_others:  # noqa: ASYNC110 - the task has nobody to tell
                    await asyncio.sleep(0)

    assert said == []
