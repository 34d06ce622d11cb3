"""The limits as they are where nobody sets them."""

from __future__ import annotations

from treadle.settings import load
from treadle.wire.limits import BodyLimits

# Of no server that is there.
ADDRESSES = {
    "DATABASE_URI": "postgresql://127.0.0.1/none",
    "REDIS_URI": "redis://127.0.0.1",
    "NATS_URL": "nats://127.0.0.1",
}
LIMITS = BodyLimits.of(load(ADDRESSES))
