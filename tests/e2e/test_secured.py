"""Servers that speak TLS only and want a credential: all of Treadle works on them, says what is wrong when they refuse, and shows
nobody a secret, wherever one looks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests import leaks
from tests.certificates import Authority
from tests.e2e.auth import everything, key_of
from tests.issuer import AUDIENCE, open_issuer
from tests.leaks import SECRETS, Light, Planted
from tests.nkey import Nkey
from tests.otlp import Receiver as Collector
from tests.otlp import receiving
from tests.receiver import Receiver
from tests.secured import Postgres, Secrets, Secured, Valkey, secured_stack
from tests.stack import Service, free_port
from tests.tls_front import TlsFront
from treadle.cli import servers
from treadle.db.dsn import parse
from treadle.messaging.access import NatsAccess
from treadle.messaging.connection import Nats
from treadle.settings import load
from treadle.streaming.connection import connect

WRONG = Secrets("wrong-postgres-password", "wrong-valkey-password", Nkey.new())
UNVERIFIED = "certificate verify failed"
METRICS_PORT = free_port()
KINDS = "select type from checkpoint_blobs where thread_id = $1 and blob is not null"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with receiving() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Secured]:
    settings = leaks.settings(tmp_path_factory.mktemp("secured"), collector.url)
    async with secured_stack(SECRETS, **settings) as secured:
        started = [
            await secured.stack.spawn("api", LOG_FORMAT="json"),
            await secured.stack.spawn("worker", LOG_FORMAT="json", METRICS_PORT=str(METRICS_PORT)),
            await secured.stack.spawn("scheduler", LOG_FORMAT="text"),
        ]
        for service in started:
            await service.ready()
        yield secured


async def test_a_run_goes_to_its_end(secured: Secured) -> None:
    (api,) = secured.stack.services("api")
    thread = await api.client.threads.create()
    given: Any = {"messages": [{"role": "user", "content": "hi"}]}

    events = [part.event async for part in api.client.runs.stream(thread["thread_id"], "chat", input=given)]

    assert "values" in events
    assert "error" not in events
    assert (await api.client.threads.get(thread["thread_id"]))["status"] == "idle"
    async with secured.stack.database() as connection:
        kinds = [kind for [kind] in await connection.fetch(KINDS, thread["thread_id"])]
    assert kinds
    assert all(kind.endswith("+aes") for kind in kinds)


async def test_the_command_line_gets_in_too(secured: Secured) -> None:
    where = servers.addresses(None, secured.stack.environment)

    async with servers.postgres(where) as pool, servers.nats_client(where) as client:
        assert await pool.fetchval("select 1") == 1
        assert client.is_connected


async def test_what_is_refused_is_told_and_no_secret_with_it(secured: Secured, tmp_path: Path) -> None:
    stack, other = secured.stack, Authority(tmp_path, "other").path
    refused = {
        await stack.spawn(
            "scheduler", DATABASE_URI=secured.database_uri(SECRETS.postgres, other)
        ): UNVERIFIED,
        await stack.spawn("scheduler", **secured.nats(WRONG.nats)): "Authorization Violation",
        await stack.spawn("scheduler", **secured.nats(SECRETS.nats, other)): UNVERIFIED,
        await stack.spawn("api", REDIS_URI=secured.redis_uri(WRONG.valkey)): "invalid username-password pair",
        await stack.spawn(
            "scheduler", REDIS_URI=f"redis://:{Planted.VALKEY.value}@cache"
        ): "REDIS_URI cannot be understood",
        await stack.spawn(
            "scheduler", TREADLE_NATS_TLS_CA="/none"
        ): "TREADLE_NATS_TLS_CA names /none, which cannot be read",
    }

    for service, reason in refused.items():
        await _says(service, reason)
        await service.kill()
        for secret in (WRONG.valkey, WRONG.nats.seed):
            assert secret not in service.text


async def test_a_certificate_for_another_host_is_refused_by_every_driver(secured: Secured) -> None:
    context = secured.authority.server_context(secured.authority.issue("elsewhere", host="127.0.0.2"))
    postgres, valkey = secured.stack.servers.postgres, secured.stack.servers.valkey
    assert isinstance(postgres, Postgres)
    assert isinstance(valkey, Valkey)
    async with (
        TlsFront(postgres.socket, context, postgres=True).listening() as before_postgres,
        TlsFront(valkey.socket, context, postgres=False).listening() as before_valkey,
    ):
        dsn = parse(secured.database_uri(SECRETS.postgres)).address
        dsn = dsn.replace(f":{secured.postgres_port}/", f":{before_postgres.port}/")
        redis = connect(
            secured.redis_uri(SECRETS.valkey).replace(f":{secured.valkey_port}/", f":{before_valkey.port}/")
        )
        refusals = [
            await _refusal(asyncpg.connect(dsn), OSError),
            await _refusal(psycopg.AsyncConnection.connect(dsn), psycopg.OperationalError),
            await _refusal(redis.ping(), RedisConnectionError),
        ]
        await redis.aclose()

    assert all("127.0.0.1" in refusal for refusal in refusals), refusals


async def test_no_secret_comes_to_light(secured: Secured, collector: Collector) -> None:
    """The last of these: all that was done before is in the logs too."""
    light = Light()
    await _use(secured, light)
    await _lose_the_servers(secured, light)
    light.add("traces", *collector.bodies)

    assert not light.leaks, "\n".join(light.leaks)
    logs = {"logs of api", "logs of worker", "logs of scheduler"}
    assert {"traces", "NATS", "Redis", "table treadle.run", "metrics of the worker", *logs} <= light.places


async def _use(secured: Secured, light: Light) -> None:
    """Runs that end well and badly, with a webhook, and requests that are refused."""
    [api, *_] = secured.stack.services("api")
    bus = Nats(NatsAccess.of(load(secured.stack.environment)), name="listener")
    async with (
        Receiver().listening() as receiver,
        leaks.overheard(bus, light),
        httpx.AsyncClient(base_url=api.url, timeout=30, **leaks.REQUEST) as http,
    ):
        hook = receiver.url("/hook").replace("://", f"://user:{Planted.WEBHOOK_URL.value}@")
        async for answer in leaks.answers(http, hook):
            light.add(f"{answer.request.method} {answer.request.url.path}", answer.text, repr(answer.headers))
        light.add("metrics of the worker", (await http.get(f"http://127.0.0.1:{METRICS_PORT}/metrics")).text)
        await _use_with_credentials(secured, light, hook)
        [delivered, *_] = await receiver.got("/hook", 2)
        assert delivered.headers["x-token"] == Planted.WEBHOOK_HEADER.value
    redis = Redis.from_url(secured.redis_uri(SECRETS.valkey))
    async with secured.stack.database() as connection:
        await leaks.look_behind(connection, redis, light)
    await redis.aclose()


async def _use_with_credentials(secured: Secured, light: Light, hook: str) -> None:
    """The same, of an API that wants to know who asks: by keys and tokens that are good, and by some that are not."""
    key = await key_of(secured.stack, *everything())
    async with open_issuer() as issuer:
        api = await secured.stack.api(
            TREADLE_API_KEYS="on",
            TREADLE_JWT_ISSUER=issuer.url,
            TREADLE_JWT_AUDIENCE=AUDIENCE,
            LOG_FORMAT="json",
        )
        token, expired = issuer.token(), issuer.token(exp=1)
        unknown = f"{key[:-8]}{key[-8:].swapcase()}"
        given = {
            "an API key": {"x-api-key": key},
            "an API key as a bearer": {"authorization": f"Bearer {key}"},
            "a token": {"authorization": f"Bearer {token}"},
            "an unknown API key": {"x-api-key": unknown},
            "an expired token": {"authorization": f"Bearer {expired}"},
        }
        for name, secret in (("key", key), ("unknown key", unknown)):
            light.watch(name, secret.rpartition("_")[2])
        for name, secret in (("token", token), ("expired token", expired)):
            light.watch(name, secret.rpartition(".")[2])
        for name, headers in given.items():
            async with httpx.AsyncClient(base_url=api.url, timeout=30, headers=headers) as http:
                refused = name.startswith(("an unknown", "an expired"))
                asked = await http.post("/threads", json={})
                assert asked.status_code == (401 if refused else 200), asked.text
                light.add(f"an answer to {name}", asked.text, repr(asked.headers))
                if not refused:
                    async for answer in leaks.answers(http, hook):
                        light.add(f"answers to {name}", answer.text, repr(answer.headers))


async def _lose_the_servers(secured: Secured, light: Light) -> None:
    """What is answered and logged while everything is away, and before."""
    [api, *_] = secured.stack.services("api")
    for server in secured.stack.servers:
        await server.stop()
    async with httpx.AsyncClient(base_url=api.url, timeout=30, **leaks.REQUEST) as http:
        answer = await http.post("/threads", json={})
        assert answer.status_code == 503
        light.add("answers while the servers are away", answer.text)
    services = {name: secured.stack.services(name) for name in ("api", "worker", "scheduler")}
    for of_a_kind in services.values():
        await _says(of_a_kind[0], "connection to NATS lost")
        for service in of_a_kind:
            await service.stop()
    leaks.logs(services, light)


async def _says(service: Service, text: str) -> None:
    try:
        assert await service.logged(text), f"{service.name} has ended:\n{service.text}"
    except TimeoutError:
        raise AssertionError(f"{service.name} does not say {text!r}:\n{service.text}") from None


async def _refusal(connecting: Any, kind: type[Exception]) -> str:
    try:
        await connecting
    except kind as error:
        return str(error)
    raise AssertionError("it was let in")
