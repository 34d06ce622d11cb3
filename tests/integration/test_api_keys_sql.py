"""API keys in Postgres: made, used, expired and revoked; and what many that nobody knows cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from treadle.cli.servers import database
from treadle.db.api_keys import ApiKey, ApiKeyRows, Asked, GoodKey, NewKey
from treadle.db.pool import Pool
from treadle.dev.servers import EmbeddedPostgres
from treadle.errors import ConfigError, Unauthorized, Unavailable
from treadle.identity.api_keys import MOST_TOGETHER, ApiKeys, IssuedKey, issue
from treadle.identity.caller import Caller, Permission

SET = "update treadle.api_key set {} where id = $1"


async def made(pool: Pool, **changes: Any) -> tuple[IssuedKey, ApiKey]:
    issued = issue()
    wanted: dict[str, Any] = {
        "name": "ci",
        "tenant": "acme",
        "identity": "ada",
        "permissions": ["read", "run"],
        "lifetime": None,
        **changes,
    }
    key = await ApiKeyRows(pool).create(NewKey(id=issued.id, hash=issued.hash, **wanted))
    return issued, key


async def caller(keys: ApiKeys, text: str) -> Caller | None:
    return await keys.caller({"x-api-key": text})


async def last_used(pool: Pool, issued: IssuedKey) -> Any:
    return await pool.fetchval("select last_used_at from treadle.api_key where id = $1", issued.id)


async def test_a_key_stands_for_its_user_in_its_tenant(pool: Pool) -> None:
    issued, key = await made(pool)

    assert await caller(ApiKeys(ApiKeyRows(pool).look_up), issued.text) == Caller(
        identity="ada",
        tenant="acme",
        granted=frozenset({Permission.READ, Permission.RUN}),
        permissions=("read", "run"),
        more={"api_key": {"id": key.id, "name": "ci"}},
    )


async def test_the_key_itself_is_stored_nowhere(pool: Pool) -> None:
    issued, _ = await made(pool)
    rows = await pool.fetch("select t::text as row, encode(hash, 'escape') as hash from treadle.api_key t")
    secret = issued.text.rpartition("_")[2]

    assert not any(secret in text for row in rows for text in row.values())


async def test_a_key_is_good_until_it_expires(pool: Pool) -> None:
    issued, key = await made(pool, lifetime=timedelta(hours=1))
    assert key.expires_at is not None
    assert key.expires_at - key.created_at >= timedelta(hours=1)
    assert await caller(ApiKeys(ApiKeyRows(pool).look_up), issued.text)

    await pool.execute(SET.format("expires_at = clock_timestamp()"), issued.id)
    with pytest.raises(Unauthorized):
        await caller(ApiKeys(ApiKeyRows(pool).look_up), issued.text)


async def test_a_revoked_key_is_refused_and_stays_in_the_list(pool: Pool) -> None:
    issued, _ = await made(pool)
    rows = ApiKeyRows(pool)
    first, second = await rows.revoke(issued.id), await rows.revoke(issued.id)

    assert first is not None
    assert first == second
    assert await rows.revoke("0" * 12) is None
    with pytest.raises(Unauthorized):
        await caller(ApiKeys(rows.look_up), issued.text)
    assert [key.revoked_at for key in await rows.all("acme")] == [first.revoked_at]
    assert await rows.all("other") == []


async def test_its_use_is_noted_once_a_minute_and_only_for_whoever_has_the_key(pool: Pool) -> None:
    issued, _ = await made(pool)
    rows = ApiKeyRows(pool)
    await rows.look_up([Asked(issued.id, b"x" * 32)])
    assert await last_used(pool, issued) is None

    await rows.look_up([Asked(issued.id, issued.hash)])
    first = await last_used(pool, issued)
    await rows.look_up([Asked(issued.id, issued.hash)])
    assert await last_used(pool, issued) == first

    await pool.execute(SET.format("last_used_at = last_used_at - interval '61 seconds'"), issued.id)
    await rows.look_up([Asked(issued.id, issued.hash)])
    assert await last_used(pool, issued) >= first


async def test_a_look_up_waits_for_nobody_who_is_at_the_row(pool: Pool) -> None:
    """Invariant: noting the use of a key never keeps a request waiting."""
    issued, _ = await made(pool)
    async with pool.acquire() as other, other.transaction():
        await other.execute("select from treadle.api_key for update")
        async with asyncio.timeout(10):
            found = await ApiKeyRows(pool).look_up([Asked(issued.id, issued.hash)])

    assert set(found) == {issued.id}
    assert await last_used(pool, issued) is None


async def test_many_unknown_keys_share_a_few_statements_and_a_good_one_among_them_is_found(
    pool: Pool,
) -> None:
    statements = 0

    async def counted(asked: Sequence[Asked]) -> dict[str, GoodKey]:
        nonlocal statements
        statements += 1
        return await ApiKeyRows(pool).look_up(asked)

    issued, _ = await made(pool)
    keys = ApiKeys(counted)
    many = [issue().text for _ in range(1000)]
    asked = [*many[:500], issued.text, *many[500:]]
    outcomes = await asyncio.gather(*(caller(keys, text) for text in asked), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [*[Unauthorized] * 500, Caller, *[Unauthorized] * 500]
    assert statements <= 2 + len(asked) // MOST_TOGETHER

    before = statements
    await asyncio.gather(*(caller(keys, text) for text in asked), return_exceptions=True)
    assert statements == before


async def test_without_postgres_nobody_can_say(pool: Pool) -> None:
    issued, _ = await made(pool)
    await pool.close()

    with pytest.raises(Unavailable):
        await caller(ApiKeys(ApiKeyRows(pool).look_up), issued.text)


def test_the_command_finds_the_database_of_a_running_treadle_dev(
    postgres: EmbeddedPostgres, postgres_dir: Path, tmp_path: Path
) -> None:
    environ = {"DATABASE_URI": "postgresql://elsewhere/treadle"}

    assert database(postgres_dir, environ).database_uri == postgres.url
    assert database(None, environ).found == "the environment"
    with pytest.raises(ConfigError, match=r"^DATABASE_URI must"):
        database(tmp_path, {})
