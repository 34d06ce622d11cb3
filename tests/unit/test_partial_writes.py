"""The writes of tasks that did not come to their end."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.serde.types import ERROR, RESUME

from treadle.checkpoint.partial_writes import ERROR_SOURCE_NODE, without_partial_writes

STATE = ("words", ["a"])
FAILED = (ERROR, "it failed")
ANSWER = (RESUME, ["yes"])
HANDLED = (ERROR_SOURCE_NODE, "node")


@pytest.mark.parametrize(
    ("writes", "kept"),
    [
        ([STATE, ANSWER], [STATE, ANSWER]),
        ([STATE, FAILED], [FAILED]),
        ([ANSWER, STATE, FAILED], [ANSWER, FAILED]),
        ([STATE, FAILED, HANDLED], [STATE, FAILED, HANDLED]),
    ],
    ids=["done", "failed", "failed after an answer", "its error handler goes on"],
)
def test_of_a_task_that_did_not_come_to_its_end_only_the_reason_is_kept(
    writes: list[tuple[str, object]], kept: list[tuple[str, object]]
) -> None:
    assert without_partial_writes(writes) == kept
