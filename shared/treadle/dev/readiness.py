"""Asks the API, which is another process, whether it is up."""

from __future__ import annotations

import asyncio

_POLL_SECS = 0.05
_ANSWER_SECS = 5.0
_REQUEST = b"GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not listened on


async def until_ok(host: str, port: int) -> None:
    """Return when GET /ok is answered with 200."""
    host = reachable(host)
    while not await _is_ok(host, port):  # noqa: ASYNC110 - another process: there is no event to wait for
        await asyncio.sleep(_POLL_SECS)


def reachable(host: str) -> str:
    """The address by which this machine reaches a server that listens on `host`."""
    return _ANY_ADDRESS.get(host, host)


async def _is_ok(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECS):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(_REQUEST)
            status = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]
