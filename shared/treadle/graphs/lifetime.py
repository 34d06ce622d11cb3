"""`checkpointer.ttl` of langgraph.json: how long threads live."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from treadle.model import Ttl

# Minutes; a century is longer than anybody's threads live, and shorter than what an interval can hold.
Minutes = Annotated[float, Meta(gt=0, le=100 * 366 * 1440)]
SWEEP_INTERVAL_MINUTES = 5.0


class ThreadTtl(Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer.ttl`: how long threads live that say nothing themselves, and how often the expired are removed.

    `sweep_limit`: how many threads one sweep removes at most, and how many it prunes; None: all that have expired.
    """

    strategy: Literal["delete", "keep_latest"] = "delete"
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Minutes | None = None
    sweep_limit: Annotated[int, Meta(ge=1)] | None = None

    @property
    def default(self) -> Ttl | None:
        """The time to live of new threads; None: without end."""
        return None if self.default_ttl is None else Ttl(self.strategy, self.default_ttl)

    @property
    def sweep_interval_secs(self) -> float:
        return 60 * (self.sweep_interval_minutes or SWEEP_INTERVAL_MINUTES)
