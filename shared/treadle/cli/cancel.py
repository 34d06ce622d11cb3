"""Ctrl-C: cancels the run on the server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError

from treadle.errors import TreadleError

CANCEL_SECS = 10.0


async def cancel(client: LangGraphClient, url: str, thread: str, run: str) -> None:
    """Cancel a run, and wait until it has stopped; one that has ended meanwhile is left as it is.

    Raises:
        TreadleError: it does not stop.
    """
    try:
        # Not found, or in conflict: the run has ended meanwhile.
        with suppress(NotFoundError, ConflictError):
            async with asyncio.timeout(CANCEL_SECS):
                await client.runs.cancel(thread, run, wait=True, action="interrupt")
    except TimeoutError as error:
        raise TreadleError(
            f"The server at {url} has noted that run {run} is to be cancelled, but the run has not stopped within "
            f"{CANCEL_SECS:g} s: a node of it does not let go."
        ) from error
