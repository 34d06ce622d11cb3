"""What a cron asks for each time: the run that the scheduler makes at a tick, and a client by hand."""

from __future__ import annotations

from uuid import UUID

import msgspec

from treadle.model import Cron
from treadle.operations.ids import new_id
from treadle.wire.runs import NewRun


class CronRun(msgspec.Struct, frozen=True):
    """One run of a cron, with the arguments that `Creation` takes for it."""

    run_id: UUID
    thread_id: UUID
    body: NewRun
    stateless: bool


def cron_run(cron: Cron) -> CronRun:
    """The next run of a cron: on the cron's thread, or on a new one of its own that `on_run_completed` is about.

    Raises:
        msgspec.ValidationError: the payload was written by a version that knew other fields.
    """
    body = msgspec.convert(cron.payload, NewRun)
    body.on_completion = cron.on_run_completed
    stateless = cron.thread_id is None
    return CronRun(new_id(), cron.thread_id or new_id(), body, stateless)
