"""How long threads live, as clients say it."""

from __future__ import annotations

from treadle.model import Ttl
from treadle_api.bodies.threads import TtlBody


def read_ttl(ttl: TtlBody | float | None) -> Ttl | None:
    """A number is minutes, after which the thread is removed."""
    if ttl is None or isinstance(ttl, TtlBody):
        return None if ttl is None else Ttl(ttl.strategy, ttl.ttl)
    return Ttl("delete", ttl)
