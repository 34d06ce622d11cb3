"""Any service may start before what it depends on: it says what it waits for, and takes work when that is there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from tests.e2e.steps import join, new_thread, wait
from tests.stack import Service, Stack, free_port
from treadle.dev.servers import EmbeddedNats, Servers, stop_together
from treadle.migrate import migrate, migrations
from treadle.patience import REMIND_SECS

# Three services load side by side, on a busy machine.
NOTICED_SECS = 60.0
NEWEST = migrations()[-1]


class PlainNats(EmbeddedNats):
    """NATS as it starts without `-js`."""

    async def prepare(self) -> None:
        await super().prepare()
        config = json.loads(self._config_path().read_text())
        del config["jetstream"]
        self._config_path().write_text(json.dumps(config))


@asynccontextmanager
async def settled() -> AsyncGenerator[Servers]:
    """Servers that have addresses, and do not run."""
    with tempfile.TemporaryDirectory(prefix="treadle-data-") as directory:
        os.chmod(directory, 0o711)  # Postgres may run as somebody else, who has to get in
        servers = Servers.at(Path(directory))
        for server in servers:
            server.settle()
        try:
            yield servers
        finally:
            await stop_together(servers)
            shutil.rmtree(servers.postgres.home, ignore_errors=True)


@asynccontextmanager
async def unready(servers: Servers, **settings: str) -> AsyncGenerator[Stack]:
    """A stack on servers that may not be there."""
    stack = Stack(servers, settings)
    try:
        yield stack
    finally:
        await stack.close()


class Watched:
    """A service and its /ok, wherever that is."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self._began = time.monotonic()
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}")

    @property
    def secs(self) -> float:
        return time.monotonic() - self._began

    async def get(self, path: str) -> httpx.Response:
        """Ask, as soon as it listens."""
        async with asyncio.timeout(NOTICED_SECS):
            while True:
                with suppress(httpx.TransportError):
                    return await self._http.get(path)
                assert self.service.running, self.service.text
                await asyncio.sleep(0.05)

    async def becomes(self, path: str, status: int, **states: str) -> dict[str, Any]:
        """Ask until it answers so, and each service named says something with this text in it."""
        async with asyncio.timeout(NOTICED_SECS):
            while True:
                answer = await self.get(path)
                services = answer.json()["services"]
                if answer.status_code == status and all(
                    text in services[name] for name, text in states.items()
                ):
                    return answer.json()
                await asyncio.sleep(0.05)


async def spawned(stack: Stack, name: str, **settings: str) -> Watched:
    port = free_port()
    service = await stack.spawn(name, METRICS_PORT=str(port) if name != "api" else "0", **settings)
    return Watched(service, port if name != "api" else service.port)


async def all_three(stack: Stack, **settings: str) -> list[Watched]:
    return [await spawned(stack, name, **settings) for name in ("api", "worker", "scheduler")]


def said_well(watched: Watched, servers: Servers) -> None:
    """Its log has no traceback, no password, and does not repeat itself."""
    text = watched.service.text
    assert "Traceback" not in text
    for url in (servers.nats.url, servers.valkey.url):
        if password := urlsplit(url).password:
            assert password not in text
    waiting = Counter(line.split("waiting for")[1] for line in watched.service.log if "waiting for" in line)
    assert max(waiting.values()) <= 1 + watched.secs / REMIND_SECS, text


async def test_services_say_what_they_wait_for_at_each_stage_and_then_take_work() -> None:
    """Postgres in five steps, then NATS without JetStream, NATS with it, and Redis at last."""
    async with settled() as servers, unready(servers) as stack:
        url = servers.postgres.url
        services = api, worker, scheduler = await all_three(stack, DATABASE_URI=database(url, "late"))
        assert (await api.get("/")).json() == {"ok": True, "services": {}}
        await api.becomes("/ok", 503, postgres="could not be reached", nats="", redis="")
        refused = await api.get("/threads/any")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "Postgres" in refused.json()["detail"]
        for other in (worker, scheduler):
            await other.becomes("/ok", 503, postgres="could not be reached")

        await servers.postgres.start()
        for each in services:
            await each.becomes("/ok", 503, postgres='database "late" does not exist')
        async with connection(url) as postgres:
            await postgres.execute("create database late")
        for each in services:
            await each.becomes("/ok", 503, postgres=migrations()[0].name)
        await replaced_by_one_that_lacks_the_newest_migration(url, "late")
        for each in services:
            await each.becomes("/ok", 503, postgres=NEWEST.name)
            assert "Run `treadle migrate`" in each.service.text
        async with connection(database(url, "late")) as postgres:
            await postgres.execute(
                "insert into treadle.migration values ($1, $2)", NEWEST.version, NEWEST.name
            )
        for each in services:
            await each.becomes("/ok", 503 if each is worker else 200)

        client = api.service.client
        thread = await new_thread(client)
        run = await client.runs.create(thread, "steps", input={"text": "early"})
        plain = PlainNats(servers.nats.data_dir)
        async with plain:
            await worker.becomes("/ok", 503, nats="JetStream")
            await api.becomes("/ok?check_db=1", 503, postgres="ok", nats="JetStream")
        await servers.nats.start()
        await worker.becomes("/ok", 200, postgres="ok", nats="ok")
        assert (await join(client, thread, run))["text"] == "EARLY!"
        await servers.valkey.start()
        for each in (api, worker):
            await each.becomes("/ok?check_db=1" if each is api else "/ok", 200, redis="ok")
        await scheduler.becomes("/ok", 200, nats="ok")
        for each in services:
            said_well(each, servers)


async def test_servers_that_go_away_again_during_the_start_are_waited_for_once_more() -> None:
    """The other order: Redis and NATS first, and a Postgres that comes, goes and comes; the migration waits, too.

    A scheduler that is told to end meanwhile ends.
    """
    async with settled() as servers, unready(servers) as stack:
        migrating = await command("migrate", DATABASE_URI=servers.postgres.url)
        api, worker, scheduler = await all_three(stack)
        assert await ends_well(scheduler) == 0
        await servers.valkey.start()
        await servers.nats.start()
        await api.becomes("/ok", 503, postgres="could not be reached", nats="ok", redis="ok")
        assert migrating.returncode is None
        for _ in range(2):
            await servers.postgres.start()
            await servers.postgres.stop()
        await servers.nats.stop()
        await servers.postgres.start()
        said, _ = await migrating.communicate()
        assert (migrating.returncode, "waiting for Postgres" in said.decode()) == (0, True), said.decode()
        await api.becomes("/ok", 200)
        await servers.nats.start()
        await worker.becomes("/ok", 200)
        await api.becomes("/ok?check_db=1", 200)  # no scheduler makes up for a wake-up that it could not send
        made = await wait(
            api.service.client, await new_thread(api.service.client), "steps", input={"text": "a"}
        )
        assert made["text"] == "A!"
        for each in (api, worker):
            said_well(each, servers)


async def test_a_service_that_waits_ends_well_and_at_once_when_told() -> None:
    """The scheduler does above."""
    async with settled() as servers, unready(servers) as stack:
        services = [await spawned(stack, name) for name in ("api", "worker")]
        assert await asyncio.gather(*map(ends_well, services)) == [0, 0]


async def ends_well(watched: Watched) -> int:
    assert await watched.service.logged("waiting for Postgres at postgresql://")
    return await watched.service.stop()


async def replaced_by_one_that_lacks_the_newest_migration(url: str, name: str) -> None:
    """Put another database in the place of one: nobody sees it before the newest migration is gone from it."""
    async with connection(url) as postgres:
        await postgres.execute("create database made")
        await migrate(database(url, "made"))
        async with connection(database(url, "made")) as made:
            await made.execute("delete from treadle.migration where version = $1", NEWEST.version)
        await postgres.execute(f'drop database "{name}" with (force)')
        await postgres.execute(f'alter database made rename to "{name}"')


def database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@asynccontextmanager
async def connection(url: str) -> AsyncGenerator[asyncpg.Connection]:
    made = await asyncpg.connect(url)
    try:
        yield made
    finally:
        await made.close()


async def command(*words: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "treadle.cli",
        *words,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
