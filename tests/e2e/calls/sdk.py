"""The public Python client, async or sync, called in one way; each part notes which parameters it was given."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal
from uuid import uuid4

from langgraph_sdk import get_client, get_sync_client

Kind = Literal["async", "sync"]
PARTS = ("assistants", "threads", "runs", "crons", "store", "http")
# What every method takes for the transport, given in each call that means to.
TRANSPORT: dict[str, Any] = {"headers": {"x-told": "by the test"}, "params": {"told": "by the test"}}


class Part:
    """One part of the client: its methods can be awaited, or iterated over, whichever client it is of."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.given: defaultdict[str, set[str]] = defaultdict(set)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.target, name)
        signature = inspect.signature(method)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.given[name] |= signature.bind(*args, **kwargs).arguments.keys()
            made = str(signature.return_annotation)
            if made.startswith("AsyncIterator") and inspect.iscoroutinefunction(method):
                return _awaited(method, args, kwargs)
            if made.startswith("AsyncIterator") or inspect.iscoroutinefunction(method):
                return method(*args, **kwargs)
            if made.startswith("Iterator"):
                return _iterated(method, args, kwargs)
            return asyncio.to_thread(method, *args, **kwargs)

        return call


class Sdk:
    """All parts of one client.

    Args:
        kind: which of the two clients.
        mark: unique; what a call makes carries it, so that a search finds that and nothing else.
    """

    def __init__(self, url: str, kind: Kind) -> None:
        self.client: Any = get_client(url=url) if kind == "async" else get_sync_client(url=url)
        self.kind = kind
        self.mark = uuid4().hex
        self.streamed: defaultdict[str, set[str]] = defaultdict(set)
        self.assistants, self.threads, self.runs, self.crons, self.store, self.http = (
            Part(getattr(self.client, name)) for name in PARTS
        )

    async def close(self) -> None:
        await (self.client.aclose() if self.kind == "async" else asyncio.to_thread(self.client.close))

    async def thread(self, **given: Any) -> str:
        """A new thread, found by the mark."""
        metadata = {"mark": self.mark, **given.pop("metadata", {})}
        return (await self.threads.create(metadata=metadata, **given))["thread_id"]

    async def ran(self, graph: str = "steps", **body: Any) -> str:
        """A thread on which a graph has run."""
        thread = await self.thread()
        await self.runs.wait(thread, graph, **{"input": {"text": "a"}, **body})
        return thread


async def _awaited(method: Callable[..., Any], args: Any, kwargs: Any) -> AsyncGenerator[Any]:
    """An iterator that is to be awaited first."""
    async with aclosing(await method(*args, **kwargs)) as iterator:
        async for item in iterator:
            yield item


async def _iterated(method: Callable[..., Any], args: Any, kwargs: Any) -> AsyncGenerator[Any]:
    """A blocking iterator as an async one."""
    iterator = await asyncio.to_thread(lambda: iter(method(*args, **kwargs)))
    ended = object()
    try:
        while (item := await asyncio.to_thread(next, iterator, ended)) is not ended:
            yield item
    finally:
        await asyncio.to_thread(iterator.close)
