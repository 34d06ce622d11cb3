"""Thousands of requests at once, each on a connection of its own, for less than a client library would need."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Longer than any answer that is bounded may take.
ANSWER_SECS = 60.0


@dataclass(frozen=True)
class Answer:
    """An answer that has ended, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    secs: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, body: object = None, **headers: str) -> bytes:
    """A request as it goes over the wire; the connection ends with its answer."""
    data = b"" if body is None else json.dumps(body).encode()
    fields = {"host": "test", "connection": "close", "content-length": str(len(data)), **headers}
    if data:
        fields["content-type"] = "application/json"
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


async def ask(port: int, method: str, path: str, body: object = None) -> Answer:
    """Send a request, and read its answer to the end."""
    began = time.monotonic()
    async with asyncio.timeout(ANSWER_SECS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request(method, path, body))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            rest = await reader.read()
        finally:
            writer.close()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
    return Answer(int(head[0].split()[1]), headers, rest, time.monotonic() - began)


def resident_mib(pid: int) -> float:
    """What a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def sample(metrics: str, series: str) -> float:
    """The value of one series in the text of /metrics."""
    return next(
        float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(series + " ")
    )
