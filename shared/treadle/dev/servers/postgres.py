"""An embedded Postgres server with pgvector."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import quote

import asyncpg
import psutil

from treadle.dev import accounts, process
from treadle.dev.accounts import Account
from treadle.dev.pidfile import end
from treadle.dev.servers.addresses import lasting_socket_dir
from treadle.dev.servers.base import EmbeddedServer
from treadle.dev.servers.binaries import postgres_programs
from treadle.dev.servers.homes import postgres_account, postgres_home

USER = "treadle"
DATABASE = "treadle"

# Durable (fsync stays on), small, and quick for short statements.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_INITDB = (
    f"--username={USER}",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth=reject",
    "--no-instructions",
)


class EmbeddedPostgres(EmbeddedServer):
    """Postgres on a Unix socket: no port to collide with, no password to guard.

    The socket's directory lets only the server's user and root in, and Postgres asks the kernel who calls
    (peer authentication): it admits the user who started it.
    """

    name: ClassVar[str] = "postgres"
    # Fast shutdown first: clients are cut off, everything is written. Then at once: the next start recovers.
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGQUIT)
    stop_grace: ClassVar[float] = 1.5

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._home = self.data_dir / self.name
        self._account: Account | None = None
        self._sockets: Path | None = None
        self._programs = Path()

    @property
    def home(self) -> Path:
        return self._home

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._sockets), safe='/')}"

    @property
    def listens(self) -> str:
        return self.url

    def account(self) -> Account:
        return self._account or accounts.current()

    def environment(self) -> Mapping[str, str]:
        # Settings of a client's environment (PGDATA, PGPORT, a locale) must not reach this server.
        return {"PATH": os.defpath, "LC_ALL": "C"}

    def choose_address(self) -> None:
        self._home = postgres_home(self.data_dir)
        self._account = postgres_account(self._home)
        self._sockets = lasting_socket_dir(self.data_dir / "postgres.sockets", self._account)

    def recall_address(self) -> bool:
        try:
            self._sockets = Path((self.data_dir / "postgres.sockets").read_text().strip())
        except FileNotFoundError:
            return False
        return True

    async def prepare(self) -> None:
        self._programs = await asyncio.to_thread(postgres_programs, self.account())
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(self._home)
        if self._sockets is not None:
            self._sockets.mkdir(mode=0o700, exist_ok=True)
            self._give(self._sockets)
        if not self._cluster.exists():
            await self._make_cluster()
        self._write_access_rules()
        await self._end_leftover()

    def command(self) -> list[str | Path]:
        settings = _SETTINGS | {"unix_socket_directories": str(self._sockets)}
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self._cluster, "-p", "5432", *flags]

    async def answers(self) -> bool:
        try:
            connection = await self._connect()
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    async def started(self) -> None:
        connection = await self._connect()
        try:
            if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE}")
        finally:
            await connection.close()

    async def stop(self) -> None:
        await super().stop()
        if self._sockets is not None and self._sockets.exists():
            shutil.rmtree(self._sockets)

    @property
    def _cluster(self) -> Path:
        return self._home / "data"

    async def _connect(self) -> Any:
        return await cast(Any, asyncpg).connect(
            host=str(self._sockets), user=USER, database="postgres", timeout=5
        )

    async def _make_cluster(self) -> None:
        """Make a new, empty cluster, under another name until it is complete: a start may be interrupted."""
        unfinished = self._home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        initdb = await process.spawn(
            [self._programs / "initdb", "-D", unfinished, *_INITDB],
            stdout=PIPE,
            death_signal=signal.SIGKILL,
            env=self.environment(),
            cwd=self._home,
            account=self._account,
        )
        try:
            output, _ = await initdb.communicate()
        except BaseException:
            await process.stop(initdb, (), grace=0)
            raise
        if initdb.returncode != 0:
            reason = output.decode(errors="replace").strip()
            raise self.failure(f"could not make its data directory: {reason}")
        unfinished.rename(self._cluster)

    def _write_access_rules(self) -> None:
        """Admit the user who starts the server now, and no one else; data may have changed hands since."""
        caller = accounts.current().name
        self._write("pg_hba.conf", f"local all {USER} peer map=starter\n")
        self._write("pg_ident.conf", f'starter "{caller}" {USER}\n')

    def _write(self, name: str, text: str) -> None:
        path = self._cluster / name
        path.write_text(text)
        self._give(path)

    def _give(self, path: Path) -> None:
        os.chown(path, self.account().uid, self.account().gid)

    async def _end_leftover(self) -> None:
        """End a server that still works on this data, and remove its mark otherwise.

        Postgres itself only asks whether the pid in the mark is alive, and refuses to start when that pid
        has meanwhile gone to someone else, which in a restarted container is likely.
        """
        mark = self._cluster / "postmaster.pid"
        try:
            leftover = psutil.Process(int(mark.read_text().split()[0]))
            if leftover.name() == "postgres" and Path(leftover.cwd()) == self._cluster:
                await end(leftover, self.stop_signals, grace=self.stop_grace)
        except (FileNotFoundError, ValueError, IndexError, psutil.Error):
            pass  # no mark, no such process, or one of someone else
        mark.unlink(missing_ok=True)
