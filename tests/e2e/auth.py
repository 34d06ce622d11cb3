"""An API whose clients have to say who they are, and those clients."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.stack import GRAPHS, Service, Stack
from treadle.identity.caller import Permission

SERVED = ("steps", "seen", "slow", "approval", "chat", "asked", "owned", "private")
AUTH = {"path": f"{GRAPHS.parent}/auth.py:auth"}


@asynccontextmanager
async def guarded(
    stack: Stack, folder: Path, *, http: dict[str, Any] | None = None, **settings: str
) -> AsyncGenerator[Service]:
    """An API of its own on the shared stack, with the `auth` of tests/graphs/auth.py."""
    served = json.loads(GRAPHS.read_text(encoding="utf-8"))
    graphs = {name: f"{GRAPHS.parent}/{served['graphs'][name]}" for name in SERVED}
    path = folder / "langgraph.json"
    config = {"graphs": graphs, "auth": AUTH, "http": http or {}}
    path.write_text(json.dumps(config), encoding="utf-8")
    api = await stack.api(LANGGRAPH_CONFIG=str(path), **settings)
    yield api
    assert await api.stop() == 0


def headers_of(name: str, tenant: str | None = None) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"} | ({} if tenant is None else {"x-tenant": tenant})


def as_user(api: Service, name: str, tenant: str | None = None) -> LangGraphClient:
    """The public client of a user."""
    return get_client(url=api.url, headers=headers_of(name, tenant))


@asynccontextmanager
async def asking_as(
    api: Service, headers: Mapping[str, str] | Mapping[bytes, bytes]
) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, headers=dict(headers), timeout=30) as client:
        yield client


async def key_of(stack: Stack, *options: str) -> str:
    """A key, as the command line makes it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "treadle.cli", "keys", "create", *options,
        env={**os.environ, **stack.environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    key, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    return key.decode().strip()


def everything() -> list[str]:
    """The options of a key that may do all there is."""
    return [option for permission in Permission for option in ("--permission", permission.value)]
