"""What the database has seen: each change of a run, a lease, a checkpoint, in the order of commits (audit.sql)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import asyncpg

SQL = Path(__file__).with_name("audit.sql")
RUNS = """
select id, at, gone, run_id::text, thread_id::text, seq, status, attempt, crashes, cancel_action, not_before, started_at, label,
       durability, strategy, answers, error
  from chaos.run_change order by id
"""
LEASES = "select at, run_id::text, attempt, worker from chaos.lease_change order by id"
CHECKPOINTS = """
select id, at, gone, thread_id, ns, checkpoint_id, parent_id, run_id, attempt, source, label, step
  from chaos.checkpoint_change order by id
"""
ENDED = frozenset({"success", "error", "timeout", "interrupted"})


@dataclass(frozen=True)
class RunChange:
    """A run as it was from this moment on; `gone`: the row is not there any more."""

    id: int
    at: datetime
    gone: bool
    run_id: str
    thread_id: str
    seq: int
    status: str
    attempt: int
    crashes: int
    cancel_action: str | None
    not_before: datetime | None
    started_at: datetime | None
    label: str | None
    durability: str
    strategy: str
    answers: bool
    """It answers a question of an earlier run."""
    error: str | None

    @property
    def ended(self) -> bool:
        return self.gone or self.status in ENDED

    @property
    def without_its_worker(self) -> bool:
        """A cancelled run whose worker had no part in its end: it was waiting again, or its lease was over. A worker that
        stops a run says so in the run's error. (One whose graph succeeds while the cancel comes leaves none, either.)"""
        return self.status == "interrupted" and self.error is None


@dataclass(frozen=True)
class LeaseChange:
    at: datetime
    run_id: str
    attempt: int
    worker: str

    @property
    def pid(self) -> int:
        """Of the worker, whose name is HOST-PID-NONCE/STEP (see `worker_name` of the worker's app.py)."""
        return int(self.worker.rsplit("-", 2)[1])


@dataclass(frozen=True)
class CheckpointChange:
    id: int
    at: datetime
    gone: bool
    thread_id: str
    ns: str
    checkpoint_id: str
    parent_id: str | None
    run_id: str | None
    attempt: int | None
    source: str
    label: str | None
    step: int | None
    """How many steps of `label` are done in it."""


@dataclass
class RunHistory:
    """All that became of one run."""

    changes: list[RunChange] = field(default_factory=list[RunChange])
    leases: list[LeaseChange] = field(default_factory=list[LeaseChange])
    checkpoints: list[CheckpointChange] = field(default_factory=list[CheckpointChange])

    @property
    def first(self) -> RunChange:
        return self.changes[0]

    @property
    def last(self) -> RunChange:
        return self.changes[-1]

    @property
    def claims(self) -> list[RunChange]:
        """The beginning of each attempt."""
        return [
            change
            for before, change in zip([None, *self.changes], self.changes, strict=False)
            if change.status == "running"
            and not change.gone
            and change.attempt > (before.attempt if before else 0)
        ]

    @property
    def end(self) -> RunChange | None:
        """How it ended; `gone` when it was rolled back."""
        return next((change for change in self.changes if change.ended), None)

    @property
    def rolled_back(self) -> bool:
        return self.last.gone

    def ending(self, attempt: int) -> RunChange | None:
        """The change by which an attempt was over: handed back, taken over, or the run ended."""
        begun = False
        for change in self.changes:
            if change.attempt == attempt and change.status == "running" and not change.gone:
                begun = True
            elif begun:
                return change
        return None

    def over(self, attempt: int) -> datetime | None:
        """When an attempt was over."""
        ending = self.ending(attempt)
        return None if ending is None else ending.at


@dataclass(frozen=True)
class History:
    """All runs, and those of each thread in the order in which they were accepted."""

    runs: dict[str, RunHistory]
    threads: dict[str, list[RunHistory]]


async def install(connection: asyncpg.Connection) -> None:
    """Write everything down from now on."""
    await connection.execute(SQL.read_text(encoding="utf-8"))


async def read(connection: asyncpg.Connection) -> History:
    runs: dict[str, RunHistory] = defaultdict(RunHistory)
    for row in await connection.fetch(RUNS):
        runs[row["run_id"]].changes.append(RunChange(*row))
    for row in await connection.fetch(LEASES):
        runs[row["run_id"]].leases.append(LeaseChange(*row))
    for row in await connection.fetch(CHECKPOINTS):
        if row["run_id"] in runs:
            runs[row["run_id"]].checkpoints.append(CheckpointChange(*row))
    threads: dict[str, list[RunHistory]] = defaultdict(list)
    for run in sorted(runs.values(), key=lambda run: run.first.seq):
        threads[run.first.thread_id].append(run)
    return History(dict(runs), dict(threads))
