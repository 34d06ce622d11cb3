"""All services behind PgBouncer, which hands out few connections, each for one transaction."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest
from langgraph_sdk.schema import Command

from tests.e2e.steps import new_thread, wait
from tests.stack import Stack, free_port, running_stack
from treadle.dev.servers import EmbeddedServer

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed"),
]
CLIENTS = 16
# Fewer than clients, so that they share them.
CONNECTIONS = 4
SETTINGS = """
[databases]
treadle = host={directory} user=treadle
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
ignore_startup_parameters = extra_float_digits
"""


@asynccontextmanager
async def pooler(postgres: EmbeddedServer) -> AsyncGenerator[str]:
    """PgBouncer before this server; gives the address of the database behind it."""
    directory, port = Path(postgres.url.partition("host=")[2]), free_port()
    await let_in_all_from_this_machine(postgres.url)
    settings, user, group = written(directory, port)
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM), str(settings), stdout=PIPE, stderr=STDOUT, user=user, group=group
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            async for line in process.stdout:
                if b"process up" in line:
                    break
        reading = asyncio.create_task(process.stdout.read(), name="pgbouncer-log")
        yield f"postgresql://treadle@127.0.0.1:{port}/treadle"
        reading.cancel()
    finally:
        process.terminate()
        await process.wait()


def written(directory: Path, port: int) -> tuple[Path, int | None, int | None]:
    """Its settings, beside the server's socket; and whose process it is to be: it never runs as root."""
    directory.chmod(0o755)
    settings = directory / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(directory=directory, port=port, connections=CONNECTIONS))
    owner = (directory / ".s.PGSQL.5432").stat()
    return (settings, None, None) if os.getuid() else (settings, owner.st_uid, owner.st_gid)


async def let_in_all_from_this_machine(url: str) -> None:
    """PgBouncer is another user than the one that the server knows."""
    connection = await asyncpg.connect(url)
    try:
        rewrite(cast(str, await connection.fetchval("show hba_file")))
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()


def rewrite(hba_file: str) -> None:
    Path(hba_file).write_text("local all all trust\n")


async def use(stack: Stack) -> None:
    """Runs, questions, states, cancels and memory, of many clients at once."""
    [api] = stack.services("api")
    client = api.client

    async def one(number: int) -> None:
        thread = await new_thread(client)
        for _ in range(3):
            assert (await wait(client, thread, "steps", input={"text": "a"}))["text"] == "A!"
        await wait(client, thread, "approval", input={"text": "b"})
        assert (await client.threads.get(thread))["status"] == "interrupted"
        await wait(client, thread, "approval", command=Command(resume="yes"))
        assert len(cast("list[Any]", await client.threads.get_history(thread))) > 3
        run = await client.runs.create(thread, "slow", input={"delay": 60, "steps": []})
        await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
        await client.store.put_item(("notes", str(number)), "key", {"text": "n"})
        assert (await client.store.get_item(("notes", str(number)), "key"))["value"] == {"text": "n"}

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))


async def test_services_work_behind_a_pooler_that_keeps_no_statements() -> None:
    async with running_stack() as stack, pooler(stack.servers.postgres) as url:
        await stack.start("api", "worker", "scheduler", DATABASE_URI=f"{url}?prepared_statements=no")
        await use(stack)
        for service in (*stack.services("worker"), *stack.services("scheduler"), *stack.services("api")):
            assert not [line for line in service.log if "prepared statement" in line]
        await stack.close()
