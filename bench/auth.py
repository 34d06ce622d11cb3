#!/usr/bin/env python3
"""What it costs a request to prove who sends it: `python -m bench.auth [--requests 2000]`.

Starts real servers, and an API process for each way: open to everybody, API keys, tokens (RS256, with a key set over HTTP), and a
`langgraph_sdk.Auth` with a handler that filters. One client asks them in turns for a thread of its own. The figure of a way is
what its median takes longer than the open API's; `first` is its first request, for which nothing was remembered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.load import positive
from bench.server import CONFIG, HOST, free_port
from bench.services import environment, module, serving
from treadle.dev.servers import Servers, temporary_servers
from treadle.migrate import migrate

AUDIENCE, KEY_ID = "bench", "one"
WARM_UP = 100
Headers = dict[str, str]


async def api_key(servers: Servers, *options: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "treadle.cli", "keys", "create", *options),
        env=environment(servers),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    key, _ = await process.communicate()
    return key.decode().strip()


@asynccontextmanager
async def key_set(folder: Path) -> AsyncGenerator[tuple[str, str]]:
    """A token, and where the key is published that has signed it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public: dict[str, Any] = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(private.public_key()))
    keys = [{**public, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]
    (folder / "keys.json").write_text(json.dumps({"keys": keys}), encoding="utf-8")
    claims = {"sub": "ada", "aud": AUDIENCE, "exp": time.time() + 3600}
    token = jwt.encode(claims, private, algorithm="RS256", headers={"kid": KEY_ID})
    port = str(free_port())
    log, arguments = folder / "keys.log", (port, "--bind", HOST, "--directory", str(folder))
    async with module("http.server", log, dict(os.environ), *arguments):
        yield token, f"http://{HOST}:{port}/keys.json"


def with_rules(folder: Path) -> str:
    """A langgraph.json with the graphs of the benchmark and an `auth`."""
    given = json.loads(CONFIG.read_text(encoding="utf-8"))
    graphs = {name: f"{CONFIG.parent}/{path}" for name, path in given["graphs"].items()}
    path = folder / "langgraph.json"
    auth = {"path": f"{CONFIG.parent}/rules.py:auth"}
    path.write_text(json.dumps({"graphs": graphs, "auth": auth}), encoding="utf-8")
    return str(path)


class Way:
    """One way to prove who asks: a client on an API, and a thread of its own."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._thread = ""
        self.took: list[float] = []

    async def begin(self) -> float:
        """Make the thread; returns what the first request took, in ms."""
        began = time.perf_counter()
        answer = await self._http.post("/threads", json={})
        took = (time.perf_counter() - began) * 1000
        answer.raise_for_status()
        self._thread = answer.json()["thread_id"]
        return took

    async def ask(self) -> None:
        began = time.perf_counter()
        answer = await self._http.get(f"/threads/{self._thread}")
        self.took.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()


async def measured(ways: Mapping[str, Way], requests: int) -> dict[str, float]:
    """The median of each way, in ms; all are asked in turns, so that the machine is the same for each."""
    for _ in range(WARM_UP + requests):
        for way in ways.values():
            await way.ask()
    return {name: median(way.took[WARM_UP:]) for name, way in ways.items()}


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=positive, default=2000, help="of each way [2000]")
    options = parser.parse_args()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="treadle-bench-")))
        servers = await stack.enter_async_context(temporary_servers())
        await migrate(servers.postgres.url)
        token, published = await stack.enter_async_context(key_set(folder))
        key = await api_key(servers)
        tokens = {"TREADLE_JWT_JWKS_URL": published, "TREADLE_JWT_AUDIENCE": AUDIENCE}
        settings: dict[str, tuple[dict[str, str], Headers]] = {
            "open": ({}, {}),
            "API key": ({"TREADLE_API_KEYS": "on"}, {"x-api-key": key}),
            "token": (tokens, {"authorization": f"Bearer {token}"}),
            "Auth object": ({"LANGGRAPH_CONFIG": with_rules(folder)}, {"authorization": "Bearer ada"}),
        }
        ways: dict[str, Way] = {}
        for name, (given, headers) in settings.items():
            logs = folder / name
            logs.mkdir()
            url = await stack.enter_async_context(serving(servers, ["api"], logs, **given))
            http = httpx.AsyncClient(base_url=url, headers=headers, timeout=30)
            ways[name] = Way(await stack.enter_async_context(http))
        first = {name: await way.begin() for name, way in ways.items()}
        found = await measured(ways, options.requests)
    for name, took in found.items():
        more = f"{(took - found['open']) * 1000:+7.0f} µs"
        print(f"{name:12}  p50 {took:6.3f} ms  {more}  first {first[name]:6.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
