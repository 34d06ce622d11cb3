"""API keys in Postgres: who holds one, and until when it is good. The keys themselves are nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from treadle.db.pool import Pool, postgres_errors
from treadle.db.rows import read
from treadle.model import Record

# A key that is good from now on, for so long if it is not for ever.
CREATE = """
insert into treadle.api_key (id, hash, name, tenant, identity, permissions, expires_at)
values ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::interval) returning *
"""
# The newest first; those of all tenants unless one is named.
LIST = "select * from treadle.api_key where $1::text is null or tenant = $1 order by created_at desc, id"
# Revoked once: the moment of the first time stays.
REVOKE = """
update treadle.api_key set revoked_at = coalesce(revoked_at, clock_timestamp()) where id = $1 returning *
"""
# Those of some ids that are good now. Beside that it notes that they are used, of those whose hash is known: once a minute, so that
# hardly any look-up writes; and of no row that somebody else is at, so that it waits for nobody and two never wait for each other.
LOOK_UP = """
with used as (
    update treadle.api_key set last_used_at = statement_timestamp() where id = any(array(
        select k.id from treadle.api_key k join unnest($1::text[], $2::bytea[]) as asked (id, hash) using (id, hash)
         where k.revoked_at is null and (k.expires_at is null or k.expires_at > statement_timestamp())
           and (k.last_used_at is null or k.last_used_at < statement_timestamp() - interval '1 minute')
         for no key update of k skip locked)))
select id, hash, name, tenant, identity, permissions,
       extract(epoch from expires_at - statement_timestamp())::float8 as secs_left
  from treadle.api_key
 where id = any($1::text[]) and revoked_at is null and (expires_at is null or expires_at > statement_timestamp())
"""


class ApiKey(Record, frozen=True, kw_only=True):
    """What is known of a key, as people may see it."""

    id: str
    name: str | None
    tenant: str
    identity: str
    permissions: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class GoodKey(Record, frozen=True, kw_only=True):
    """A key that is good now. `hash`: its 32 bytes; `secs_left`: until it expires, None: it does not."""

    id: str
    hash: bytes
    name: str | None
    tenant: str
    identity: str
    permissions: list[str]
    secs_left: float | None


class Asked(NamedTuple):
    """A key that somebody presents: its id, and the SHA-256 of all of it."""

    id: str
    hash: bytes


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is to be. `lifetime`: None: it does not expire."""

    id: str
    hash: bytes
    name: str | None
    tenant: str
    identity: str
    permissions: list[str]
    lifetime: timedelta | None


class ApiKeyRows:
    """The keys of all tenants. Each method raises Unavailable when Postgres cannot be reached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, key: NewKey) -> ApiKey:
        values = (key.id, key.hash, key.name, key.tenant, key.identity, key.permissions, key.lifetime)
        with postgres_errors("making an API key"):
            return read(ApiKey, (await self._pool.fetch(CREATE, *values))[0])

    async def all(self, tenant: str | None = None) -> list[ApiKey]:
        """The newest first, revoked and expired ones too; None: those of all tenants."""
        with postgres_errors("listing API keys"):
            return [read(ApiKey, row) for row in await self._pool.fetch(LIST, tenant)]

    async def revoke(self, key_id: str) -> ApiKey | None:
        """The key, which is good for nothing any more; None: there is no such key."""
        with postgres_errors("revoking an API key"):
            row = await self._pool.fetchrow(REVOKE, key_id)
        return None if row is None else read(ApiKey, row)

    async def look_up(self, asked: Sequence[Asked]) -> dict[str, GoodKey]:
        """Those that are good now, by id; whether the hashes are equal is the caller's to see."""
        with postgres_errors("looking up API keys"):
            rows = await self._pool.fetch(LOOK_UP, [each.id for each in asked], [each.hash for each in asked])
        return {row["id"]: read(GoodKey, row) for row in rows}
