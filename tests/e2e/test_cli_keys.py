"""`treadle keys` against a real database: a key is made, used, listed and revoked."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.test_cli_run import Cli, Ended, ended
from tests.stack import Stack
from treadle.db.api_keys import ApiKeyRows
from treadle.db.pool import connect_pool
from treadle.errors import Unauthorized
from treadle.identity.api_keys import FORM, ApiKeys
from treadle.identity.caller import ALL, Caller, Permission


async def keys(stack: Stack, *arguments: str) -> Ended:
    """Run the command, which needs nothing but Postgres."""
    environ = {"DATABASE_URI": stack.environment["DATABASE_URI"], "NATS_URL": "", "REDIS_URI": ""}
    return await ended(await Cli("").start("keys", *arguments, environ=environ))


async def caller(stack: Stack, key: str) -> Caller | None:
    pool = await connect_pool(stack.environment["DATABASE_URI"], size=1, service="test")
    try:
        return await ApiKeys(ApiKeyRows(pool).look_up).caller({"authorization": f"Bearer {key}"})
    finally:
        await pool.close()


async def listed(stack: Stack, tenant: str) -> list[dict[str, Any]]:
    told = await keys(stack, "list", "--tenant", tenant, "--json")
    return [json.loads(line) for line in told.out.splitlines()]


async def test_a_key_is_made_used_listed_and_revoked(stack: Stack) -> None:
    tenant = f"tenant-{uuid4()}"
    told = await keys(stack, "create", "--tenant", tenant, "--name", "ci", "--expires", "90d")
    key = told.out.strip()
    assert told.code == 0
    assert told.out == f"{key}\n"
    assert FORM.fullmatch(key)
    assert "may read, run, resume, update, until 20" in told.err
    assert key not in told.err

    used = await caller(stack, key)
    assert used is not None
    assert (used.identity, used.tenant, used.granted) == ("key:ci", tenant, ALL - {Permission.ADMINISTER})

    [shown] = await listed(stack, tenant)
    assert shown["name"] == "ci"
    assert shown["last_used_at"] is not None
    assert key.rpartition("_")[2] not in json.dumps(shown)
    assert "hash" not in shown

    revoked = await keys(stack, "revoke", key)
    assert (revoked.code, revoked.out) == (0, f"revoked {shown['id']}  key:ci in tenant {tenant}\n")
    with pytest.raises(Unauthorized):
        await caller(stack, key)
    assert (await listed(stack, tenant))[0]["revoked_at"] is not None


async def test_a_key_has_the_user_and_the_permissions_that_are_asked_for(stack: Stack) -> None:
    granted = ("--permission", "run", "--permission", "read", "--permission", "run")
    told = await keys(stack, "create", "--user", "ada", *granted)

    assert await caller(stack, told.out.strip()) == Caller(
        identity="ada",
        granted=frozenset({Permission.READ, Permission.RUN}),
        permissions=("read", "run"),
        more={"api_key": {"id": told.out.split("_")[1], "name": None}},
    )


async def test_a_key_that_nobody_knows_cannot_be_revoked(stack: Stack) -> None:
    told = await keys(stack, "revoke", "0" * 12)

    assert (told.code, told.out) == (1, "")
    assert "There is no API key 000000000000" in told.err
