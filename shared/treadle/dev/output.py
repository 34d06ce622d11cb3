"""Shows what several processes say, line by line, and how far the start has come.

This class writes plain lines, for pipes and files; `treadle.dev.terminal` does the same for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, Self, TextIO, cast

_CHUNK_BYTES = 65_536
OWN_NAME = "treadle"


class Output:
    """Lines with the name of the process that said them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def line(self, name: str, text: str) -> None:
        self.write(f"{prefix(name)}{text}")

    def say(self, text: str) -> None:
        """What `treadle dev` itself has to say, on one line or several."""
        for line in text.splitlines():
            self.line(OWN_NAME, line)

    def progress(self, text: str) -> None:
        """What the start is waiting for now."""
        self.say(text)

    def ready(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """The start is over: what there is, and where."""
        self.write("\n".join(["", f"  {title}", "", *(f"    {name:<10}{text}" for name, text in rows), ""]))

    def write(self, text: str) -> None:
        # A terminal that was closed, or a pipe nobody reads: no reason to stop otherwise than in order.
        with suppress(OSError):
            self._stream.write(text + "\n")
            self._stream.flush()

    async def pump(self, name: str, source: asyncio.StreamReader) -> None:
        """Pass on every line of the source, of whatever length, until it ends."""
        rest = b""
        while chunk := await source.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._bytes(name, line)
            if len(rest) > _CHUNK_BYTES:
                self._bytes(name, rest)
                rest = b""
        if rest:
            self._bytes(name, rest)

    def _bytes(self, name: str, line: bytes) -> None:
        self.line(name, line.decode(errors="replace").rstrip("\r"))


def prefix(name: str) -> str:
    return f"{name:<10} | "


def output_to(stream: TextIO) -> Output:
    """The output that suits the stream: a terminal gets colours and a spinner."""
    _make_lenient(stream)
    if stream.isatty():
        from treadle.dev.terminal import Terminal  # noqa: PLC0415 - a pipe has no need of rich

        return Terminal(stream)
    return Output(stream)


def _make_lenient(stream: TextIO) -> None:
    """What the services say must fit through any encoding."""
    if isinstance(stream, TextIOWrapper):
        cast("TextIOWrapper[Any]", stream).reconfigure(errors="replace")
