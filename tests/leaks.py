"""Secrets that are planted in a stack, and the places where none of them may come to light.

One more secret is one more member of `Planted` and the line that plants it, or, where it is made while the stack runs, one more
`Light.watch`; one more place is one more `Light.add`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import asyncpg
import httpx
from redis.asyncio import Redis

from tests.nkey import Nkey
from tests.secured import Secrets
from tests.stack import GRAPHS, Service
from treadle.messaging.connection import Nats

TABLES = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and n.nspname in ('treadle', 'public')
"""


class Planted(Enum):
    """What nobody may see, by where it is planted."""

    POSTGRES = "planted/postgres@password"
    VALKEY = "planted#valkey:password"
    NATS = Nkey.new().seed
    IDENTITY = "planted-identity-secret-of-32-bytes"
    WEBHOOK = "planted-webhook-secret-of-32-bytes"
    AES = "planted-key-for-checkpoints-32-b"
    OTLP = "planted-header-for-the-collector"
    ENV = "planted-variable-of-langgraph-json"
    WEBHOOK_HEADER = "planted-header-of-webhooks"
    WEBHOOK_URL = "planted-password-of-a-webhook"
    AUTHORIZATION = "planted-header-authorization"
    API_KEY = "planted-header-x-api-key"
    COOKIE = "planted-header-cookie"
    QUERY = "planted-parameter-of-a-query"


SECRETS = Secrets(Planted.POSTGRES.value, Planted.VALKEY.value, Nkey.of(Planted.NATS.value))
REQUEST: dict[str, Any] = {
    "headers": {
        "authorization": f"Bearer {Planted.AUTHORIZATION.value}",
        "x-api-key": Planted.API_KEY.value,
        "cookie": f"session={Planted.COOKIE.value}",
    },
    "params": {"token": Planted.QUERY.value},
}
# Whoever delivers a webhook has to know where to.
KEPT = {(Planted.WEBHOOK_URL.name, f"table treadle.{table}") for table in ("run", "webhook", "cron")}


def settings(folder: Path, collector: str) -> dict[str, str]:
    """What the services are given that is secret, and what makes them talkative."""
    config = {
        "dependencies": [str(GRAPHS.parent)],
        "graphs": {name: f"{GRAPHS.parent}/reference.py:{name}" for name in ("steps", "failing", "chat")},
        "env": {"LG_WEBHOOK_TOKEN": Planted.WEBHOOK_HEADER.value, "MODEL_KEY": Planted.ENV.value},
        "webhooks": {"headers": {"X-Token": "${{ env.LG_WEBHOOK_TOKEN }}"}},
    }
    path = folder / "langgraph.json"
    path.write_text(json.dumps(config))
    return {
        "LANGGRAPH_CONFIG": str(path),
        "LANGGRAPH_AES_KEY": Planted.AES.value,
        "TREADLE_IDENTITY_SECRET": Planted.IDENTITY.value,
        "TREADLE_WEBHOOK_SECRET": Planted.WEBHOOK.value,
        "TREADLE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={Planted.OTLP.value}",
        "LOG_LEVEL": "DEBUG",
        "TREADLE_DB_POOL_WAIT_SECS": "0.5",
    }


class Light:
    """What came to light, by place."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}
        self._secrets = {secret.name: secret.value for secret in Planted}

    @property
    def places(self) -> set[str]:
        return set(self._seen)

    def watch(self, name: str, secret: str) -> None:
        """Look for one more secret, also in what was added before."""
        self._secrets[name] = secret

    def add(self, place: str, *texts: str | bytes) -> None:
        plain = (text if isinstance(text, str) else text.decode(errors="replace") for text in texts)
        self._seen.setdefault(place, []).extend(plain)

    @property
    def leaks(self) -> list[str]:
        """Each secret that was seen where it may not be, and what is around it."""
        return [
            f"{name} in {place}: {_around(text, written)!r}"
            for place, texts in self._seen.items()
            for name, secret in self._secrets.items()
            if (name, place) not in KEPT
            for written in {secret, quote(secret, safe="")}
            for text in texts
            if written in text
        ]


async def answers(http: httpx.AsyncClient, hook: str) -> AsyncGenerator[httpx.Response]:
    """What a client gets to see, of what works and of what does not. Two webhooks are sent to `hook`."""
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    given: dict[str, Any] = {
        "input": {"text": "a"},
        "webhook": hook,
        "stream_mode": ["values", "debug", "events"],
    }
    yield await http.post(f"/threads/{thread}/runs/stream", json={"assistant_id": "steps", **given})
    yield await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "failing", **given})
    yield await http.post("/runs/crons", json={"assistant_id": "steps", "schedule": "0 0 1 1 *", **given})
    for path in (
        "/runs/crons/search",
        "/assistants/search",
        "/threads/search",
        "/runs/batch",
        "/store/items",
    ):
        yield await http.post(path, json={})
    for path in ("runs", "state", "history"):
        yield await http.get(f"/threads/{thread}/{path}")
    for path in ("/openapi.json", "/info", "/metrics", "/ok?check_db=true", f"/threads/{thread}x", "/none"):
        yield await http.get(path)
    for refused in (hook.replace("@", "/@"), "://" + hook, hook.replace("http", "ftp")):
        yield await http.post(f"/threads/{thread}/runs", json={"assistant_id": "steps", "webhook": refused})
    yield await http.post("/threads", content=b"{")
    yield await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    yield await http.put("/threads")


async def look_behind(connection: asyncpg.Connection, redis: Redis, light: Light) -> None:
    """What Postgres and Redis keep."""
    for [table] in await connection.fetch(TABLES):
        rows = await connection.fetch(f"select t::text from {table} t")
        light.add(f"table {table}", *(row for [row] in rows))
    async for key in cast(AsyncIterator[bytes], redis.scan_iter("treadle:*")):
        light.add("Redis", repr(key), repr(await redis.xrange(key)))


@asynccontextmanager
async def overheard(nats: Nats, light: Light) -> AsyncGenerator[None]:
    """Hear everything that is published on the bus meanwhile."""

    async def hear(message: Any) -> None:
        light.add("NATS", message.subject, message.data, repr(message.headers))

    async with nats.kept_up():
        await nats.opened()
        await nats.client.subscribe(">", cb=hear)
        await nats.client.flush()
        yield
        await nats.client.flush()
        await asyncio.sleep(0)


def logs(services: Mapping[str, list[Service]], light: Light) -> None:
    for name, each in services.items():
        light.add(f"logs of {name}", *(service.text for service in each))


def _around(text: str, secret: str) -> str:
    at = text.index(secret)
    return text[max(0, at - 80) : at + len(secret) + 20]
