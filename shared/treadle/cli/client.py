"""The SDK's client, as `treadle run` wants it."""

from __future__ import annotations

import httpx
from langgraph_sdk.client import LangGraphClient

# An event stream is never silent for longer than a few heartbeats.
_TIMEOUT = httpx.Timeout(connect=5, read=120, write=60, pool=5)


def connect(url: str) -> LangGraphClient:
    """A client that says at once when nobody listens at the address: the SDK's own tries for 8 seconds.

    It sends no key: the SDK's own would send, to whatever server, the one that it finds in LANGSMITH_API_KEY.
    """
    transport = httpx.AsyncHTTPTransport(retries=1)
    return LangGraphClient(httpx.AsyncClient(base_url=url, transport=transport, timeout=_TIMEOUT))
