"""Waiting for servers that come up later than we do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from treadle.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_SECS = 0.2
LONGEST_SECS = 5.0


async def patiently(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until it works, with growing pauses, and say what is waited for."""
    pause = FIRST_SECS
    while True:
        try:
            return await attempt()
        except Unavailable as error:
            log.warning("waiting for %s: %s", what, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_SECS)
