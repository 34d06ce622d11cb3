"""What Postgres has of a thread, in one look, in the words of the model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.chaos.thread.kept import Kept, kept
from tests.chaos.thread.model import ThreadModel
from treadle.db.pool import Pool

FACTS = """
select (select to_jsonb(t) from treadle.thread t where thread_id = $1) as thread,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'run', run_id, 'status', r.status, 'attempt', r.attempt, 'crashes', crashes, 'cancel', cancel_action,
                   'error', error ->> 'error', 'updated', updated_at, 'lease', l.attempt,
                   'leased', l.lease_until > clock_timestamp(), 'alone', l.alone, 'died', l.died) order by seq), '[]')
          from treadle.run r left join treadle.lease l using (run_id) where thread_id = $1) as runs,
       (select coalesce(jsonb_agg(jsonb_build_array(run_id, attempt, status) order by event_id), '[]')
          from treadle.run_event where thread_id = $1) as events,
       (select coalesce(jsonb_agg(jsonb_build_array(run_id, status) order by created_at), '[]')
          from treadle.webhook where thread_id = $1) as webhooks,
       (select coalesce(jsonb_agg(run_id order by id), '[]')
          from treadle.dead_letter where thread_id = $1) as letters,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'ns', checkpoint_ns, 'id', checkpoint_id, 'parent', parent_checkpoint_id, 'run', metadata ->> 'run_id',
                   'versions', checkpoint -> 'channel_versions', 'digest', md5(checkpoint::text || metadata))), '[]')
          from checkpoints where thread_id = $1::text) as checkpoints,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'ns', checkpoint_ns, 'id', checkpoint_id, 'task', task_id, 'idx', idx, 'run', treadle_run_id,
                   'digest', channel || ' ' || md5(blob))), '[]')
          from checkpoint_writes where thread_id = $1::text) as writes,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'ns', checkpoint_ns, 'channel', channel, 'version', version, 'digest', md5(blob))), '[]')
          from checkpoint_blobs where thread_id = $1::text) as blobs
"""


@dataclass(frozen=True)
class Facts:
    """What is compared with the model, and what is not part of it but never goes backwards."""

    seen: dict[str, Any]
    kept: Kept
    moments: dict[str, datetime]


async def look(pool: Pool, thread_id: UUID) -> Facts:
    """All of a thread at one moment."""
    row: Any = await pool.fetchrow(FACTS, str(thread_id))
    thread = row["thread"]
    moments = {each["run"]: datetime.fromisoformat(each.pop("updated")) for each in row["runs"]}
    moments["thread"] = datetime.fromisoformat(thread["updated_at"])
    seen: dict[str, Any] = {
        "thread": {name: thread[name] for name in ("status", "resting", "values", "interrupts")},
        "error": (thread["error"] or {}).get("error"),
        **{name: row[name] for name in ("runs", "events", "webhooks", "letters")},
    }
    return Facts(seen, kept(row), moments)


def expected(model: ThreadModel) -> dict[str, Any]:
    """The same, as the model has it."""
    return {
        "thread": {
            "status": model.status,
            "resting": model.resting,
            "values": model.values,
            "interrupts": model.interrupts,
        },
        "error": model.error,
        "runs": [
            {
                "run": str(run.run_id),
                "status": run.status,
                "attempt": run.attempt,
                "crashes": run.crashes,
                "cancel": run.cancel if run.status == "running" else ANY,
                "error": run.error,
                # Who runs has a lease of this attempt, and nobody else has any.
                "lease": run.attempt if run.status == "running" else None,
                "leased": model.leased(run) if run.lease else None,
                "alone": run.lease.alone if run.lease else None,
                "died": run.lease.died if run.lease else None,
            }
            for run in model.runs
        ],
        "events": [[str(run_id), attempt, status] for run_id, attempt, status in model.events],
        "webhooks": [[str(run_id), status] for run_id, status in model.webhooks],
        "letters": [str(run_id) for run_id in model.dead_letters],
    }


class _Any:
    """Equal to whatever it is compared with: of no consequence any more."""

    def __eq__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "..."

    __hash__ = None  # pyright: ignore[reportAssignmentType]


ANY: Any = _Any()
