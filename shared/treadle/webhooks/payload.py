"""What a webhook tells: the run as it ended, the values that it left, and what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from treadle import json
from treadle.wire.shown import shown_kwargs

# As the API shows a run.
SHOWN = ("run_id", "thread_id", "assistant_id", "metadata", "status", "kwargs", "multitask_strategy")

CANCELLED = {
    "interrupted": {"error": "UserInterrupt", "message": "the run was cancelled before it began"},
    "rollback": {"error": "UserRollback", "message": "the run was rolled back; nothing of it is left"},
}


def payload(run: dict[str, Any], values: Any, sent_at: datetime) -> bytes:
    """The body of one delivery.

    Args:
        run: the row as Postgres wrote it down when the run ended.
    """
    shown = {name: run[name] for name in SHOWN}
    shown["kwargs"] = shown_kwargs(run["kwargs"])
    told = {
        **shown,
        "created_at": _moment(run["created_at"]),
        "updated_at": _moment(run["updated_at"]),
        "run_started_at": _moment(run["started_at"]),
        "run_ended_at": _moment(run["ended_at"]),
        "webhook_sent_at": sent_at.isoformat(),
        "values": values,
    }
    error = run["error"] or CANCELLED.get(run["status"])
    return json.encode(told if error is None else {**told, "error": error})


def _moment(text: str | None) -> str | None:
    """A moment as Postgres writes it into JSON, in whichever time zone its server is, as the API shows it."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC).isoformat()
