"""Settings: read from the environment alone; each mistake is named, and the table in the docs is this module's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from treadle import settings
from treadle.errors import ConfigError

ADDRESSES = {
    "DATABASE_URI": "postgresql://user:hunter2@db/treadle",
    "REDIS_URI": "redis://cache:6379/0",
    "NATS_URL": "nats://one:4222, tls://two:4222",
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_three_addresses_are_all_that_must_be_set() -> None:
    loaded = settings.load(ADDRESSES)

    assert loaded.database_uri == ADDRESSES["DATABASE_URI"]
    assert (loaded.n_jobs_per_worker, loaded.bg_job_timeout_secs, loaded.log_format) == (10, 3600, "auto")


@pytest.mark.parametrize(
    "uri",
    [
        "postgres://db",
        "postgresql://user@/treadle?host=/var/run/postgresql",
        "postgresql://user:p%40ss@one:5432,two:5433/treadle?target_session_attrs=primary",
        "postgresql://[::1]:5432/treadle",
    ],
)
def test_a_postgres_address_may_have_any_of_libpqs_forms(uri: str) -> None:
    assert settings.load({**ADDRESSES, "DATABASE_URI": uri}).database_uri == uri


def test_values_are_typed() -> None:
    loaded = settings.load({**ADDRESSES, "N_JOBS_PER_WORKER": "4", "TREADLE_LEASE_SECS": "2.5"})

    assert (loaded.n_jobs_per_worker, loaded.treadle_lease_secs) == (4, 2.5)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert settings.load({**ADDRESSES, "N_JOBS_PER_WORKER": ""}).n_jobs_per_worker == 10


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URI, NATS_URL must be set") as raised:
        settings.load({"REDIS_URI": "redis://cache", "DATABASE_URI": ""})

    assert "REDIS_URI" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("N_JOBS_PER_WORKER", "0"),
        ("N_JOBS_PER_WORKER", "many"),
        ("N_JOBS_PER_WORKER", "2.5"),
        ("BG_JOB_TIMEOUT_SECS", "-1"),
        ("BG_JOB_TIMEOUT_SECS", "inf"),
        ("BG_JOB_TIMEOUT_SECS", "nan"),
        ("BG_JOB_MAX_RETRIES", "0"),
        ("BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS", "-0.1"),
        ("TREADLE_LEASE_SECS", "0.5"),
        ("TREADLE_PORT", "65536"),
        ("TREADLE_ROUTE", "gpu.pool"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_malformed_variable_is_named_with_its_value_and_what_it_takes(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings.load({**ADDRESSES, name: value})

    assert str(raised.value).startswith(f"{name} is {value!r}, which cannot be used: ")
    assert "It takes " in str(raised.value)
    assert "docs/settings.md" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URI", "mysql://user:hunter2@db/treadle"),
        ("DATABASE_URI", "db:5432"),
        ("DATABASE_URI", "postgresql://user:hunter2@db:port/treadle"),
        ("REDIS_URI", "http://:hunter2@cache"),
        ("NATS_URL", "nats://one:4222;nats://user:hunter2@two:4222 "),
        ("NATS_URL", "nats://one:4222,http://two"),
    ],
)
def test_a_malformed_address_is_named_but_not_shown_for_it_may_hold_a_password(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} cannot be used: ") as raised:
        settings.load({**ADDRESSES, name: value})

    assert value not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_documented_table_has_every_setting_with_its_type_default_and_meaning() -> None:
    rows = settings.table().splitlines()[2:]
    fields = msgspec.structs.fields(settings.Settings)

    assert [row.split("|")[1].strip(" `") for row in rows] == [field.name.upper() for field in fields]
    assert all(cell.strip() for row in rows for cell in row.split("|")[1:-1])


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == settings.HEADER + settings.table(), "run `make docs`"
