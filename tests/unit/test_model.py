"""The domain's values."""

from __future__ import annotations

from uuid import UUID

import pytest

from treadle.model import RunStatus, default_assistant_id


def test_a_graphs_default_assistant_has_the_id_that_every_server_derives() -> None:
    assert default_assistant_id("agent") == UUID("fe096781-5601-53d2-b2f6-0d3403f7e9ca")


@pytest.mark.parametrize("status", RunStatus)
def test_a_run_is_over_unless_it_waits_or_runs(status: RunStatus) -> None:
    assert status.terminal == (status not in {RunStatus.PENDING, RunStatus.RUNNING})
