"""What the embedded servers have in common: start, answer, stop."""

from __future__ import annotations

import asyncio
import signal
from abc import ABC, abstractmethod
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from treadle.dev import accounts, process
from treadle.dev.accounts import Account
from treadle.dev.pidfile import PidFile
from treadle.errors import TreadleError

READY_SECS = 30.0
RETRY_SECS = 0.02
LOG_KEEP_BYTES = 8_000_000
LOG_TAIL_LINES = 12


class ServerFailed(TreadleError):
    """An embedded server did not start; the message ends with the last lines of its log."""


class EmbeddedServer(ABC):
    """One server process with its data in `<data_dir>/<name>`.

    `start` returns when the server answers in its own protocol; starting a running server does nothing.
    """

    name: ClassVar[str]
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM,)
    stop_grace: ClassVar[float] = 3.0

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.log_path = self.data_dir / "logs" / f"{self.name}.log"
        self._pidfile = PidFile(self.data_dir / f"{self.name}.pid")
        self._process: Process | None = None
        self._settled = False

    @property
    def home(self) -> Path:
        """Where this server's data lies."""
        return self.data_dir / self.name

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for clients, with credentials; known once the address is chosen (`settle`)."""

    @property
    @abstractmethod
    def listens(self) -> str:
        """The address for people, without credentials."""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.running else None

    def settle(self) -> None:
        """Choose the address, so that `url` is known before the server runs; `start` does it otherwise."""
        make_data_dir(self.data_dir)
        if not self._settled:
            self.choose_address()
            self._settled = True

    @abstractmethod
    def choose_address(self) -> None:
        """Choose where to listen, once in the life of this object: clients know the address then."""

    @abstractmethod
    def recall_address(self) -> bool:
        """Take the address that an earlier start has recorded, and change nothing on disk; False: there is none."""

    @abstractmethod
    async def prepare(self) -> None:
        """Lay out what the server needs on disk; no other server uses the data then."""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """The command line of the server, which stays in the foreground and logs to its standard output."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether the server, just started, is ready for clients."""

    async def started(self) -> None:
        """Finish what can only be done once the server answers."""
        return

    def environment(self) -> Mapping[str, str] | None:
        return None

    def account(self) -> Account | None:
        return None

    async def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServerFailed: it ended, or did not answer in time; the message has its last words.
        """
        if self.running:
            return
        self.settle()
        await self._pidfile.reap(self.stop_signals, grace=self.stop_grace)
        await self.prepare()
        self._process = await self._spawn()
        self._pidfile.write(self._process.pid)
        try:
            await self._until_ready(self._process)
            await self.started()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> int:
        """Wait until the server process ends; returns its exit code."""
        if self._process is None:
            raise TreadleError(f"{self.name} was not started: there is nothing to wait for.")
        return await self._process.wait()

    async def stop(self) -> None:
        """Stop the server cleanly; what it has promised to keep is kept."""
        if self._process is not None:
            await process.stop(self._process, self.stop_signals, grace=self.stop_grace)
        self._pidfile.remove()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _spawn(self) -> Process:
        self.log_path.parent.mkdir(mode=0o700, exist_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_KEEP_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".old.log"))
        with self.log_path.open("ab") as log:
            return await process.spawn(
                self.command(),
                stdout=log,
                death_signal=self.stop_signals[0],
                env=self.environment(),
                cwd=self.home,
                account=self.account(),
            )

    async def _until_ready(self, server: Process) -> None:
        try:
            async with asyncio.timeout(READY_SECS):
                while not await self.answers():
                    if server.returncode is not None:
                        raise self.failure(f"ended with exit code {server.returncode}")
                    await asyncio.sleep(RETRY_SECS)
        except TimeoutError as error:
            raise self.failure(f"did not answer within {READY_SECS:.0f} s") from error

    def failure(self, what: str) -> ServerFailed:
        """The error that says what happened and shows the end of the server's log."""
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        tail = "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])
        return ServerFailed(f"The embedded {self.name} server {what}. The end of {self.log_path}:\n{tail}")


def make_data_dir(path: Path) -> None:
    """Make the directory, closed to others.

    Under root, others may pass through it, though not look into it: Postgres, which does not run as root,
    has to reach its part.
    """
    if path.exists():
        return
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o711 if accounts.current().is_root else 0o700)
    (path / ".gitignore").write_text("*\n")
