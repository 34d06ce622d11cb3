"""Pieces of an answer with signs of life between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from treadle.streaming import HEARTBEAT


async def with_heartbeats(
    pieces: AsyncGenerator[bytes], heartbeat_secs: float, heartbeat: bytes = HEARTBEAT
) -> AsyncGenerator[bytes]:
    """The pieces, and a heartbeat after each silence; the pieces are closed at the end, however that comes."""
    async with aclosing(pieces):
        following: asyncio.Task[bytes] | None = None
        try:
            while True:
                following = following or asyncio.create_task(_next(pieces), name="next-piece")
                if not (await asyncio.wait({following}, timeout=heartbeat_secs))[0]:
                    yield heartbeat
                    continue
                piece = following.result()
                following = None
                yield piece
        except _Ended:
            return
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


class _Ended(Exception):
    """A task cannot end with StopAsyncIteration."""


async def _next(pieces: AsyncGenerator[bytes]) -> bytes:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise _Ended from None
