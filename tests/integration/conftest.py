"""One Postgres for the tests that need nothing else; each test finds its database empty."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from treadle.db.pool import Pool, connect_pool
from treadle.dev.servers import EmbeddedPostgres
from treadle.migrate import migrate

# Deleting is faster than truncating while tables are small. What hangs on these rows goes with them.
TABLES = (
    "treadle.thread",
    "treadle.run_event",
    "treadle.assistant",
    "treadle.dead_letter",
    "treadle.leader",
    "treadle.webhook",
    "treadle.orphan",
    "treadle.request",
    "treadle.api_key",
    "treadle.turn",
    "treadle.share",
    "treadle.admission",
    "treadle.audit",
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "store",
)


@pytest.fixture(scope="session")
def postgres_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="treadle-data-") as directory:
        path = Path(directory)
        path.chmod(0o711)  # under root Postgres runs as someone else, who has to get in
        yield path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(postgres_dir: Path) -> AsyncGenerator[EmbeddedPostgres]:
    async with EmbeddedPostgres(postgres_dir) as server:
        yield server
    shutil.rmtree(server.home, ignore_errors=True)


async def at_the_server(postgres: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def url_of(postgres: EmbeddedPostgres, name: str) -> str:
    return postgres.url.replace("/treadle?", f"/{name}?")


@pytest.fixture
async def new_dsn(postgres: EmbeddedPostgres) -> AsyncGenerator[str]:
    """A database with nothing in it."""
    name = f"new-{uuid4()}"
    await at_the_server(postgres, f'create database "{name}" template template0')
    yield url_of(postgres, name)
    await at_the_server(postgres, f'drop database "{name}" with (force)')


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_dsn(postgres: EmbeddedPostgres) -> str:
    await at_the_server(postgres, "create database migrated template template0")
    dsn = url_of(postgres, "migrated")
    await migrate(dsn)
    return dsn


@pytest.fixture
async def dsn(migrated_dsn: str) -> str:
    """A database with the newest schema and no rows."""
    connection = await asyncpg.connect(migrated_dsn)
    try:
        await connection.execute("".join(f"delete from {table};" for table in TABLES))
    finally:
        await connection.close()
    return migrated_dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncGenerator[Pool]:
    pool = await connect_pool(dsn, size=10, service="test")
    yield pool
    await pool.close()
