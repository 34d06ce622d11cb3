"""Who leads: a row with an end, rather than a session's advisory lock, so that it works behind a pooler too."""

from __future__ import annotations

from treadle.db.pool import Pool

TAKE = """
insert into treadle.leader as l (duty, holder, lead_until)
values ($1, $2, clock_timestamp() + make_interval(secs => $3))
on conflict (duty) do update set holder = excluded.holder, lead_until = excluded.lead_until
 where l.holder = excluded.holder or l.lead_until < clock_timestamp()
returning holder
"""
GIVE_UP = "delete from treadle.leader where duty = $1 and holder = $2"


class Leadership:
    """The lead of one duty, which one process holds at a time, for as long as it renews it."""

    def __init__(self, pool: Pool, duty: str, holder: str, secs: float) -> None:
        self._pool = pool
        self._duty = duty
        self._holder = holder
        self._secs = secs

    async def take(self) -> bool:
        """Take or renew the lead; False when another process has it."""
        return await self._pool.fetchval(TAKE, self._duty, self._holder, self._secs) is not None

    async def give_up(self) -> None:
        """Let another process take over at once."""
        await self._pool.execute(GIVE_UP, self._duty, self._holder)
