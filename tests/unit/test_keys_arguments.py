"""`treadle keys` without a server: arguments, and what is shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from treadle.cli import keys
from treadle.cli.keys_view import state
from treadle.cli.main import main
from treadle.db.api_keys import ApiKey
from treadle.identity.api_keys import issue
from treadle.identity.caller import ALL, DEFAULT_TENANT, Permission

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ISSUED = issue()


def key(expires_in: timedelta | None = None, *, revoked: bool = False) -> ApiKey:
    return ApiKey(
        id=ISSUED.id,
        name=None,
        tenant="default",
        identity="ada",
        permissions=["read"],
        created_at=NOW,
        expires_at=NOW + expires_in if expires_in else None,
        revoked_at=NOW if revoked else None,
        last_used_at=None,
    )


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (key(), "good"),
        (key(timedelta(days=3)), "good for 3 d"),
        (key(-timedelta(seconds=1)), "expired"),
        (key(timedelta(days=3), revoked=True), "revoked"),
    ],
)
def test_a_list_says_what_a_key_is_good_for(listed: ApiKey, said: str) -> None:
    assert state(listed, NOW) == said


def test_the_command_knows_the_permissions_and_the_tenant_of_the_server() -> None:
    assert tuple(Permission) == keys.PERMISSIONS
    assert set(keys.USUAL) == ALL - {Permission.ADMINISTER}
    assert keys.DEFAULT_TENANT == DEFAULT_TENANT


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["create", "--expires", "soon"], "'soon' is no time"),
        (
            ["create", "--permission", "fly"],
            "'fly' is not one of 'read', 'run', 'resume', 'update', 'administer'",
        ),
        (["create", "--tenant", ""], "give 1 to 128 printable characters"),
        (["create", "--user", "a\nb"], "give 1 to 256 printable characters"),
        (["revoke", f"{ISSUED.text}!"], "This is no id of a key"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(arguments: list[str], why: str) -> None:
    refused = CliRunner().invoke(main, ["keys", *arguments])

    assert refused.exit_code == 2
    assert why in re.sub(r"[\s│]+", " ", refused.output)
    assert ISSUED.text not in refused.output


def test_no_server_but_postgres_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner(env={"DATABASE_URI": "", "NATS_URL": ""}).invoke(main, ["keys", "list"])

    assert told.exit_code == 78
    assert "DATABASE_URI must be set" in told.output
    assert "NATS_URL" not in told.output
