"""Runs that kill their workers are given up; those beside them are not, and lose nothing."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run

from tests.chaos.site import Site, opened
from tests.e2e.steps import eventually, join, new_thread
from tests.marking import marked
from tests.stack import Stack, marks, running_stack

GRAPHS = Path(__file__).parents[1] / "graphs" / "poison.json"
SETTINGS = {
    "LANGGRAPH_CONFIG": str(GRAPHS),
    "TREADLE_LEASE_SECS": "3",
    "TREADLE_SWEEP_INTERVAL_SECS": "0.5",
    "N_JOBS_PER_WORKER": "10",
    "BG_JOB_MAX_RETRIES": "3",
}
LONG_SECS = 120
# So many runs are beside two that kill. Each makes its last attempt in a process of its own, which costs two seconds of CPU.
INNOCENT = int(os.environ.get("POISON_INNOCENT", "2"))


class Runs:
    """Runs on threads of their own, by the label under which they leave their marks."""

    def __init__(self, client: LangGraphClient, stack: Stack, folder: Path) -> None:
        self.client = client
        self.stack = stack
        self.log, self.gate, self.fuse = folder / "marks", folder / "gate", folder / "fuse"
        self.log.touch()
        self.made: dict[str, tuple[str, Run]] = {}

    async def create(self, label: str, graph: str, thread: str | None = None, **given: Any) -> Run:
        thread = thread or await new_thread(self.client)
        body = {"log": str(self.log), "label": label, "gate": str(self.gate), **given}
        run = await self.client.runs.create(thread, graph, input=body, durability="sync")
        self.made[label] = thread, run
        return run

    async def last_attempt(self, label: str, graph: str, **given: Any) -> Run:
        """A run that has lost its workers already, but for the last attempt. No worker may be there yet."""
        run = await self.create(label, graph, **given)
        async with self.stack.database() as db:
            await db.execute(
                "update treadle.run set attempt = 2, crashes = 2 where run_id = $1", run["run_id"]
            )
        return run

    async def joined(self, label: str) -> dict[str, Any]:
        async with asyncio.timeout(LONG_SECS):
            return await join(self.client, *self.made[label])

    def marks(self, label: str) -> list[tuple[str, int]]:
        return [(what, pid) for what, marked, pid in marks(self.log) if marked == label]

    def light(self, times: int) -> None:
        """Let the poison kill for the n-th time."""
        Path(f"{self.fuse}.{times}").touch()

    async def row(self, label: str) -> tuple[str, int, int]:
        """Status, attempt and crashes of a run."""
        async with self.stack.database() as db:
            row = await db.fetchrow(
                "select status, attempt, crashes from treadle.run where run_id = $1",
                self.made[label][1]["run_id"],
            )
        assert row is not None
        return tuple(row)

    async def letters(self) -> dict[str, tuple[int, str]]:
        """The dead letters: attempts and reason, by label."""
        async with self.stack.database() as db:
            rows = await db.fetch("select run_id, attempts, reason from treadle.dead_letter")
        labels = {run["run_id"]: label for label, (_, run) in self.made.items()}
        return {labels[str(row["run_id"])]: (row["attempts"], row["reason"]) for row in rows}


@asynccontextmanager
async def place(folder: Path, *services: str, **settings: str) -> AsyncGenerator[tuple[Stack, Runs]]:
    async with running_stack("api", *services, **{**SETTINGS, **settings}) as stack:
        yield stack, Runs(stack.services("api")[0].client, stack, folder)


async def test_runs_that_kill_their_workers_are_given_up_and_take_nobody_along(tmp_path: Path) -> None:
    """All are on one worker, and die together again and again, until each is alone."""
    innocent = [f"innocent{n}" for n in range(INNOCENT)]
    async with place(tmp_path, "scheduler") as (stack, runs):
        for label in innocent:
            await runs.create(label, "three_steps")
        await runs.create("poison", "poison", fuse=str(runs.fuse))
        await runs.create("quick", "poison", how="politely", fuse=str(runs.fuse))
        await runs.create("behind", "three_steps", thread=runs.made["poison"][0])
        async with opened(stack, {}, outage_secs=1, worker=1) as site:
            for times in (1, 2):
                await marked(runs.log, "dwell", INNOCENT * times, LONG_SECS)
                await marked(runs.log, "die", 2 * times, LONG_SECS)
                runs.light(times)
                await eventually(lambda times=times: died(site, times), LONG_SECS)
            runs.light(3)
            runs.gate.touch()
            heir = await stack.worker()
            given_up = {label: (await runs.joined(label))["__error__"] for label in ("poison", "quick")}
            for label in (*innocent, "behind"):
                await runs.joined(label)
            deaths = [death.service.pid for death in site.deaths]
        rows = {label: await runs.row(label) for label in runs.made}
        letters = await runs.letters()
    assert len(deaths) == 2
    for label, error in given_up.items():
        assert error["error"] == "WorkerLost"
        assert "3 times (BG_JOB_MAX_RETRIES), the last time in a process of its own" in error["message"]
        assert rows[label] == ("error", 3, 2)
        assert letters.pop(label)[0] == 3
        what, pids = zip(*runs.marks(label), strict=True)
        assert what == ("swallow", "die", "die", "die")
        assert pids[0] == pids[1] == deaths[0]
        assert pids[2] == deaths[1]
        assert pids[3] not in {*deaths, heir.pid}
    assert letters == {}
    for label in innocent:
        assert rows[label] == ("success", 3, 2)
        assert [what for what, _ in runs.marks(label)] == ["prepare", "dwell", "dwell", "dwell", "conclude"]
    assert rows["behind"] == ("success", 1, 0)


async def test_an_attempt_alone_ends_as_any_other_does(tmp_path: Path) -> None:
    """It kills its process, in whatever way, fails, takes too long, is cancelled: nobody else notices."""
    deadly = ("kill", "segfault", "politely")
    async with place(tmp_path, BG_JOB_TIMEOUT_SECS="6") as (stack, runs):
        for label in (*deadly, "memory"):
            await runs.last_attempt(label, "poison", how=label)
        await runs.last_attempt("late", "poison", how="stuck")
        await runs.last_attempt("cancelled", "three_steps")
        workers = await stack.start("worker", "worker")
        await marked(runs.log, "dwell", 1, LONG_SECS)
        thread, run = runs.made["cancelled"]
        await runs.client.runs.cancel(thread, run["run_id"], wait=True)
        answers = {label: await runs.joined(label) for label in runs.made}
        rows = {label: await runs.row(label) for label in runs.made}
        letters = await runs.letters()
        assert all(worker.running for worker in workers)
    assert rows == {
        **dict.fromkeys((*deadly, "memory"), ("error", 3, 2)),
        "late": ("timeout", 3, 2),
        "cancelled": ("interrupted", 3, 2),
    }
    errors = {
        label: answer["__error__"]["error"] for label, answer in answers.items() if "__error__" in answer
    }
    assert errors == {**dict.fromkeys(deadly, "WorkerLost"), "memory": "MemoryError", "late": "RunTimeout"}
    assert {label: attempts for label, (attempts, _) in letters.items()} == dict.fromkeys(deadly, 3)
    pids = [pid for what, _, pid in marks(runs.log) if what in ("die", "dwell")]
    assert len(set(pids)) == len(runs.made)
    assert not {*pids} & {worker.pid for worker in workers}


async def test_an_attempt_alone_goes_with_its_worker_and_is_not_held_against_the_run(tmp_path: Path) -> None:
    """The worker drains: the run is handed back. The worker dies: its death proves nothing of the run."""
    async with place(tmp_path, "scheduler") as (stack, runs):
        await runs.last_attempt("alone", "three_steps")
        draining = await stack.worker()
        await marked(runs.log, "dwell", 1, LONG_SECS)
        assert await draining.stop() == 0
        assert await runs.row("alone") == ("pending", 3, 2)

        dying = await stack.worker()
        await marked(runs.log, "dwell", 2, LONG_SECS)
        await runs.create("beside", "three_steps")
        await marked(runs.log, "dwell", 3, LONG_SECS)
        child = runs.marks("alone")[-1][1]
        # Where memory runs out, the kernel takes it before its worker.
        assert score_of(child) == 1000
        await dying.kill()
        await gone(child)
        runs.gate.touch()
        await stack.worker()
        await runs.joined("alone")
        await runs.joined("beside")
        rows = [await runs.row(label) for label in ("alone", "beside")]
    assert rows == [("success", 5, 3), ("success", 2, 1)]
    assert [what for what, _ in runs.marks("alone")] == ["prepare", "dwell", "dwell", "dwell", "conclude"]
    pids = Counter(pid for _, pid in runs.marks("alone"))
    assert not pids.keys() & {draining.pid, dying.pid}


async def died(site: Site, times: int) -> bool:
    """Whether so many of the site's services have: none of their runs gets any further."""
    return len(site.deaths) >= times


def score_of(pid: int) -> int:
    """How readily the kernel ends a process when memory runs out: from -1000 to 1000."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii"))


async def gone(pid: int) -> None:
    """Wait until a process, which is another's child, has ended."""
    await eventually(lambda: asyncio.to_thread(has_ended, pid))


def has_ended(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return True
