"""langgraph's strict mode, which it looks for in the environment once, when it is imported."""

from __future__ import annotations

import os

VARIABLE = "LANGGRAPH_STRICT_MSGPACK"


def be_strict() -> None:
    """Have it, unless the environment says otherwise: graphs then say which types their state has.

    To be called before anything imports langgraph. Processes that this one starts inherit it.
    """
    os.environ.setdefault(VARIABLE, "true")
