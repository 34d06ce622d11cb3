"""Every call of the public Python client works, async and sync, with every one of its parameters."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import pytest
import pytest_asyncio
from langgraph_sdk import get_client, get_sync_client

from tests.e2e.calls.sdk import PARTS, Kind, Sdk

KINDS: tuple[Kind, ...] = ("async", "sync")


def methods(kind: Kind, part: str) -> dict[str, inspect.Signature]:
    """The public methods of one part of a client."""
    target = getattr((get_client if kind == "async" else get_sync_client)(url="http://127.0.0.1"), part)
    found = inspect.getmembers(target, callable)
    return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}


def calls(part: str) -> dict[str, Callable[[Sdk], Awaitable[None]]]:
    module = importlib.import_module(f"tests.e2e.calls.{part}")
    found = inspect.getmembers(module, inspect.iscoroutinefunction)
    return {name: cast(Any, call) for name, call in found if not name.startswith("_")}


CASES = [(kind, part, name) for kind in KINDS for part in PARTS for name in methods(kind, part)]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest_asyncio.fixture(loop_scope="session")
async def sdk(api_url: str, kind: Kind) -> AsyncGenerator[Sdk]:
    sdk = Sdk(api_url, kind)
    yield sdk
    await sdk.close()


@pytest.mark.parametrize("part", PARTS)
def test_every_method_has_its_call(kind: Kind, part: str) -> None:
    assert calls(part).keys() == methods(kind, part).keys()


@pytest.mark.parametrize(("kind", "part", "name"), CASES, indirect=["kind"])
async def test_a_call_works_with_every_parameter(sdk: Sdk, kind: Kind, part: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`checkpoint_during` is deprecated", DeprecationWarning)
        await calls(part)[name](sdk)
    given = getattr(sdk, part).given[name]
    assert methods(kind, part)[name].parameters.keys() - given == set()
