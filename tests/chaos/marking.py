"""Waiting for what graphs leave behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from tests.stack import marks


async def marked(log: Path, what: str, count: int, secs: float = 30) -> None:
    """Wait until a graph of graphs/protocol.py has left `count` marks of a kind."""
    async with asyncio.timeout(secs):
        async for _ in awatch(log.parent, step=10, rust_timeout=200, yield_on_timeout=True):
            if sum(mark[0] == what for mark in marks(log)) >= count:
                return
