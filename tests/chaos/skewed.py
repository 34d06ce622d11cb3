"""Starts a service on a host whose clock is wrong: `python -m tests.chaos.skewed treadle_worker -30`.

The clocks of this process are moved before anything of the service is imported. What the database and the other servers
say of the time is theirs, as it would be over a network.
"""

from __future__ import annotations

import importlib
import runpy
import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

from tests.explained import explain

_NANOS = 10**9
# Those that ask `datetime` for the time of day. The class itself cannot be changed, and one that took its place everywhere
# would not be what msgspec and asyncpg know as a datetime.
ASKING = (
    "langgraph.checkpoint.base",
    "langgraph.pregel._checkpoint",
    "treadle.schedules",
    "treadle.webhooks.delivery",
    "treadle.webhooks.sender",
)


def skew(secs: float) -> None:
    """Move what this process takes for the time of day; monotonic clocks stay."""
    seconds, nanos = time.time, time.time_ns

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=secs)

    time.time = lambda: seconds() + secs
    time.time_ns = lambda: nanos() + int(secs * _NANOS)
    for name in ASKING:
        vars(importlib.import_module(name))["datetime"] = Skewed


if __name__ == "__main__":
    explain()
    service, secs = sys.argv[1:]
    skew(float(secs))
    runpy.run_module(service, run_name="__main__", alter_sys=True)
