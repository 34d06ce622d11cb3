"""What a request names and nobody has."""

from __future__ import annotations

from uuid import UUID

from treadle.errors import NotFound


def no_assistant(assistant_id: UUID) -> NotFound:
    return NotFound(f"Assistant with ID {assistant_id} not found")


def no_cron(cron_id: UUID) -> NotFound:
    return NotFound(f"Cron with ID {cron_id} not found")


def no_thread(thread_id: UUID, way_out: str = "") -> NotFound:
    return NotFound(f"Thread with ID {thread_id} not found{way_out}")


def no_run(thread_id: UUID, run_id: UUID) -> NotFound:
    return NotFound(f"Run with ID {run_id} not found on thread {thread_id}")
