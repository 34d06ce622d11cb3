"""Where the attempts of a run begin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from treadle.db.runs import Progress
from treadle.model import MultitaskStrategy, Run, RunStatus
from treadle_worker.inputs import run_config, starting_place
from treadle_worker.resumption import goes_on

NOTHING = Progress(checkpointed=False, written=False)
WRITES = Progress(checkpointed=False, written=True)
CHECKPOINT = Progress(checkpointed=True, written=True)
PAST: dict[str, Any] = {"checkpoint": {"checkpoint_id": "1ef", "checkpoint_ns": "", "thread_id": "t"}}


def a_run(**kwargs: Any) -> Run:
    now = datetime.now(UTC)
    return Run(
        run_id=uuid4(),
        thread_id=uuid4(),
        assistant_id=uuid4(),
        graph_id="graph",
        seq=1,
        status=RunStatus.RUNNING,
        attempt=2,
        crashes=1,
        not_before=None,
        cancel_action=None,
        multitask_strategy=MultitaskStrategy.ENQUEUE,
        metadata={},
        kwargs=kwargs,
        route="default",
        output=None,
        error=None,
        created_at=now,
        updated_at=now,
        started_at=now,
        ended_at=None,
    )


@pytest.mark.parametrize(
    ("kwargs", "progress", "on"),
    [
        ({}, NOTHING, False),
        ({}, WRITES, True),
        ({}, CHECKPOINT, True),
        (PAST, NOTHING, False),
        (PAST, WRITES, False),
        (PAST, CHECKPOINT, True),
    ],
)
def test_a_run_goes_on_from_the_newest_checkpoint_if_that_is_of_its_own_branch(
    kwargs: dict[str, Any], progress: Progress, on: bool
) -> None:
    assert goes_on(a_run(**kwargs), progress) is on


def test_a_run_begins_at_the_checkpoint_that_its_request_or_its_config_names() -> None:
    assert starting_place(a_run()) == {}
    assert starting_place(a_run(**PAST)) == {"checkpoint_id": "1ef"}
    named = a_run(config={"configurable": {"checkpoint_id": "2ef", "other": 1}})
    assert starting_place(named) == {"checkpoint_id": "2ef"}
    assert run_config(named, resumed=False).get("configurable", {})["checkpoint_id"] == "2ef"


def test_an_attempt_that_goes_on_does_not_begin_where_its_request_said() -> None:
    for kwargs in (PAST, {"config": {"configurable": {"checkpoint_id": "2ef"}}}):
        assert "checkpoint_id" not in run_config(a_run(**kwargs), resumed=True).get("configurable", {})
