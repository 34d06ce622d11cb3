"""Bounds on what clients that take nothing may hold."""

from __future__ import annotations

import pytest

from treadle_api.server import listen
from treadle_api.stalling import bound_unsent


@pytest.mark.parametrize("secs", [0.001, 30, 1_073_742, 1e12])
def test_every_time_that_can_be_set_is_one_that_the_kernel_takes(secs: float) -> None:
    with listen("127.0.0.1", 0) as listener:
        bound_unsent(listener, secs)
