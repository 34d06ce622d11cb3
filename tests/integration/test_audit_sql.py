"""The record of answers (migrations/0026_audit.sql)."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from treadle.db.audit import AuditRows
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.runs import RequestKey, Runs


def new_run(thread_id: UUID, command: Any) -> NewRun:
    user = {"identity": "ada", "roles": ["a\x00b"], "permissions": []}
    return NewRun(
        run_id=uuid4(),
        thread_id=thread_id,
        assistant_id=uuid4(),
        graph_id="g",
        kwargs={
            "command": command,
            "authenticated": True,
            "config": {"configurable": {"langgraph_auth_user": user}},
        },
        if_not_exists="create",
    )


@pytest.mark.parametrize("way", ["alone", "together", "once"])
async def test_each_way_to_make_a_run_records_its_answer_and_nothing_else(pool: Pool, way: str) -> None:
    runs, thread = Runs(pool), uuid4()

    async def make(command: Any) -> UUID:
        new = new_run(thread, command)
        if way == "alone":
            await runs.create(new)
        elif way == "together":
            await runs.create_all([new])
        else:
            await runs.create_once(new, RequestKey("s", str(new.run_id)))
        return new.run_id

    await make(None)
    answer = await make({"resume": "a\x00b", "goto": None, "update": None})
    await make({"resume": None, "goto": "x", "update": None})  # nothing was asked
    [record] = await AuditRows(pool).all(None, None, thread, None, 10)
    assert (record.action, record.identity, record.run_id) == ("answered", "ada", answer)
    assert record.roles == ["a b"]  # no text in Postgres has a NUL
    assert record.answer["resume"] == "a b"


async def test_records_are_forgotten_when_their_time_is_over(pool: Pool) -> None:
    rows, thread = AuditRows(pool), uuid4()
    await Runs(pool).create(new_run(thread, {"resume": 1}))
    assert await rows.forget(3600, 10) == 0
    await pool.execute("update treadle.audit set at = at - interval '2 hours'")
    assert await rows.forget(3600, 10) == 1
    assert await rows.all(None, None, None, None, 10) == []
