"""The server, as clients see it."""

from __future__ import annotations

from msgspec import Struct


class Info(Struct):
    """What this server is, and which parts of the protocol it serves."""

    version: str
    langgraph_py_version: str
    flags: dict[str, bool]


class Health(Struct):
    ok: bool
    services: dict[str, str]
