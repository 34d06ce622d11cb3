"""Webhooks in Postgres: what is owed since a run ended, and every attempt to deliver it.

That one is owed is written by `treadle.end_run`, in migrations/0005_webhooks.sql. An attempt begins by taking what is
due: `due_at` moves to the end of a lease, so that nobody else sends it meanwhile, and the attempt is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from treadle.db.forgetting import forget
from treadle.db.pool import Pool

State = Literal["owed", "delivered", "failed"]

# One row for each that was taken: nobody else has it until its lease ends.
TAKEN = """
, taken as (
    update treadle.webhook w
       set attempts = w.attempts + 1, due_at = clock_timestamp() + $1
      from due where w.webhook_id = due.webhook_id returning w.*
), noted as (
    insert into treadle.webhook_attempt (webhook_id, number) select webhook_id, attempts from taken
)
select webhook_id, run_id, url, run, "values", attempts,
       extract(epoch from clock_timestamp() - created_at)::float8 as age_secs from taken
"""
TAKE_DUE = f"""
with due as (
    select webhook_id from treadle.webhook where state = 'owed' and due_at <= statement_timestamp()
     order by due_at limit $2 for update skip locked
) {TAKEN}
"""  # noqa: S608 - all of it stands here
# The first attempt for a run that has just ended.
TAKE_OF_RUN = f"""
with due as (
    select webhook_id from treadle.webhook
     where run_id = $2 and state = 'owed' and due_at <= clock_timestamp() for update skip locked
) {TAKEN}
"""  # noqa: S608 - as above
# Write down what came of an attempt; it decides unless a later attempt has begun meanwhile.
SETTLE = """
with told as (
    update treadle.webhook_attempt set secs = $3, status = $4, error = $5 where webhook_id = $1 and number = $2
)
update treadle.webhook
   set state = $6, due_at = coalesce(clock_timestamp() + $7::interval, due_at),
       settled_at = case $6 when 'owed' then null else clock_timestamp() end,
       run = case $6 when 'owed' then run end, "values" = case $6 when 'owed' then "values" end
 where webhook_id = $1 and attempts = $2 and state = 'owed'
"""
# Records of what was settled long ago, a batch at a time.
FORGET = """
delete from treadle.webhook where webhook_id = any(array(
    select webhook_id from treadle.webhook where settled_at < statement_timestamp() - $1::interval
     order by settled_at limit $2 for update skip locked))
"""


class Owed(msgspec.Struct, frozen=True):
    """A webhook in the hands of one deliverer. `attempts` counts this one too."""

    webhook_id: UUID
    run_id: UUID
    url: str
    run: dict[str, Any]
    values: Any
    attempts: int
    age_secs: float


class Webhooks:
    """The webhooks that are owed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take_due(self, lease_secs: float, limit: int) -> list[Owed]:
        """Begin an attempt for each that is due, the longest overdue first."""
        return _owed(await self._pool.fetch(TAKE_DUE, timedelta(seconds=lease_secs), limit))

    async def take_of_run(self, run_id: UUID, lease_secs: float) -> list[Owed]:
        """Begin an attempt for what is owed for one run."""
        return _owed(await self._pool.fetch(TAKE_OF_RUN, timedelta(seconds=lease_secs), run_id))

    async def settle(
        self,
        owed: Owed,
        state: State,
        *,
        secs: float,
        status: int | None,
        error: str | None,
        retry_secs: float | None,
    ) -> None:
        """Write down what came of an attempt, and what becomes of the webhook."""
        retry = None if retry_secs is None else timedelta(seconds=retry_secs)
        await self._pool.execute(SETTLE, owed.webhook_id, owed.attempts, secs, status, error, state, retry)

    async def forget(self, older_secs: float, limit: int) -> int:
        """Remove records that were settled long ago; returns how many."""
        return await forget(self._pool, FORGET, older_secs, limit)


def _owed(rows: Sequence[Any]) -> list[Owed]:
    return [Owed(**{name: row[name] for name in Owed.__struct_fields__}) for row in rows]
