"""Waiting for what the graphs of graphs/protocol.py leave behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from tests.stack import marks


def input_of(log: Path, gate: Path, label: str = "run") -> dict[str, Any]:
    """For `three_steps`: where it leaves its marks, and the file without which it does not end."""
    return {"log": str(log), "label": label, "gate": str(gate)}


async def marked(log: Path, what: str, count: int, secs: float = 30) -> None:
    """Wait until a graph has left `count` marks of a kind."""
    async with asyncio.timeout(secs):
        async for _ in awatch(log.parent, step=10, rust_timeout=200, yield_on_timeout=True):
            if sum(mark[0] == what for mark in marks(log)) >= count:
                return
