"""The witness: a Postgres of its own, in which the load's graph marks what it does. No fault touches it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import asyncpg

from treadle.dev.servers import EmbeddedPostgres

TABLE = """
create table mark (
    id bigint primary key generated always as identity, at timestamptz not null default clock_timestamp(),
    what text not null, run_id text not null, attempt int not null, label text, step int, pid int not null)
"""
READ = "select what, run_id, attempt, label, step, pid, at from mark order by at, id"


@dataclass(frozen=True)
class Mark:
    """What a node did: `step` is its number within what the run `label` began."""

    what: Literal["start", "end", "die", "block", "hoard"]
    run_id: str
    attempt: int
    label: str
    step: int
    pid: int
    at: datetime


class Witness:
    def __init__(self, url: str) -> None:
        self.url = url

    async def marks(self) -> list[Mark]:
        """All marks, in the order in which they were made."""
        connection = await asyncpg.connect(self.url)
        try:
            return [Mark(*row) for row in await connection.fetch(READ)]
        finally:
            await connection.close()


@asynccontextmanager
async def open_witness() -> AsyncGenerator[Witness]:
    with tempfile.TemporaryDirectory(prefix="treadle-witness-") as directory:
        os.chmod(directory, 0o711)  # Postgres, which does not run as root, has to get through
        server = EmbeddedPostgres(Path(directory))
        await server.start()
        try:
            connection = await asyncpg.connect(server.url)
            await connection.execute(TABLE)
            await connection.close()
            yield Witness(server.url)
        finally:
            await server.stop()
