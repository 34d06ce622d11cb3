"""What the spoilt network of the suite does, seen from both of its ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from tests.chaos.proxy import Delay, Mode, Plain, Proxy, Slow, Way


@dataclass
class Line:
    """A connection of a client, through the proxy, to a server that says everything back."""

    proxy: Proxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def echo(self, text: bytes, secs: float = 5.0) -> bytes:
        self.writer.write(text)
        async with asyncio.timeout(secs):
            return await self.reader.read(len(text))

    async def silent(self) -> bool:
        try:
            return await self.echo(b"?", 0.3) == b""
        except TimeoutError:
            return True


async def say_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(1000):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def line() -> AsyncGenerator[Line]:
    server = await asyncio.start_server(say_back, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Proxy(lambda: f"nats://me:secret@127.0.0.1:{port}").listening() as proxy:
        yield await another(proxy)
    server.close()


async def another(proxy: Proxy) -> Line:
    port = int(proxy.url.rpartition(":")[2])
    return Line(proxy, *await asyncio.open_connection("127.0.0.1", port))


async def test_what_passes_passes_in_order_and_the_address_is_the_proxys() -> None:
    async with line() as made:
        assert made.proxy.url.startswith("nats://me:secret@127.0.0.1:")
        assert [await made.echo(word) for word in (b"one", b"two")] == [b"one", b"two"]
        made.writer.close()
        assert await made.reader.read() == b""


async def test_a_cut_resets_what_is_open_and_what_is_new() -> None:
    async with line() as made:
        await made.echo(b"one")
        with pytest.raises(ConnectionError):
            async with made.proxy.turned(Plain.CUT):
                await made.reader.readexactly(1)
        async with made.proxy.turned(Plain.CUT):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await (await another(made.proxy)).reader.readexactly(1)
        assert await (await another(made.proxy)).echo(b"two") == b"two"


@pytest.mark.parametrize("ways", [frozenset(Way), frozenset({Way.TO_SERVER}), frozenset({Way.TO_CLIENT})])
async def test_half_open_connections_say_nothing_and_do_so_for_ever(ways: frozenset[Way]) -> None:
    async with line() as made:
        await made.echo(b"one")
        async with made.proxy.turned(Plain.HALF_OPEN, ways):
            assert await made.silent()
            during = await another(made.proxy)
            assert await during.silent()
        assert await made.silent()
        assert await during.silent()
        assert await (await another(made.proxy)).echo(b"two") == b"two"


@pytest.mark.parametrize(("mode", "at_least"), [(Delay(0.1, 0.02), 0.2), (Slow(50), 0.2)])
async def test_what_is_late_or_slow_arrives_whole(mode: Mode, at_least: float) -> None:
    text = b"0123456789" * 3
    async with line() as made, made.proxy.turned(mode):
        started = time.monotonic()
        made.writer.write(text)
        async with asyncio.timeout(5):
            assert await made.reader.readexactly(len(text)) == text
        assert time.monotonic() - started >= at_least
