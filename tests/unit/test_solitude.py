"""A process for a last attempt that cannot begin is started again, ever less often."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import pytest

from treadle.db.runs import Runs
from treadle.telemetry.metrics import Metrics
from treadle_worker import solitude
from treadle_worker.drain import Drain
from treadle_worker.solitude import AGAIN_SECS, LONGEST_AGAIN_SECS, Solitude


async def no_process(*_: object) -> Any:
    raise OSError("no memory for it")


@pytest.mark.parametrize(
    ("deliveries", "secs"),
    [(1, AGAIN_SECS), (5, 5 * AGAIN_SECS), (1000, LONGEST_AGAIN_SECS)],
)
async def test_an_attempt_that_cannot_begin_waits_longer_each_time_but_for_no_drain(
    deliveries: int, secs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solitude, "_start", no_process)
    drain = Drain(0)
    alone = Solitude("worker", cast(Runs, None), drain, Metrics(), timeout_secs=1)
    assert await alone.attempt(uuid4(), deliveries) == secs
    drain.begin()
    assert await alone.attempt(uuid4(), deliveries) == 0
