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
from tests.e2e.calls.thread_streams import DATA, MODULES

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


def stream_members(kind: Kind) -> dict[str, inspect.Signature | None]:
    """The public members of a thread's stream, those of its modules among them; None: it takes no parameters."""
    client: Any = (get_client if kind == "async" else get_sync_client)(url="http://127.0.0.1")
    stream: Any = client.threads.stream(assistant_id="any")
    owners: list[tuple[Any, str]] = [(getattr(stream, name), f"{name}_") for name in MODULES]
    found: dict[str, inspect.Signature | None] = {}
    for owner, prefix in ((stream, ""), *owners):
        names: set[str] = {*dir(owner.__class__), *vars(owner)}
        for name in sorted(names - DATA - set(MODULES)):
            if not name.startswith("_"):
                member = inspect.getattr_static(owner, name)
                function = inspect.isfunction(member)
                found[prefix + name] = inspect.signature(getattr(owner, name)) if function else None
    return found


STREAM_CASES = [(kind, name) for kind in KINDS for name in stream_members(kind)]
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


def test_every_member_of_a_threads_stream_has_its_call() -> None:
    assert calls("thread_streams").keys() == stream_members("async").keys() | stream_members("sync").keys()


@pytest.mark.parametrize(("kind", "name"), STREAM_CASES, indirect=["kind"])
async def test_a_member_of_a_threads_stream_works(sdk: Sdk, kind: Kind, name: str) -> None:
    await calls("thread_streams")[name](sdk)
    signature = stream_members(kind)[name]
    if signature is not None:
        assert signature.parameters.keys() - sdk.streamed[name] == set()


@pytest.mark.parametrize(("kind", "part", "name"), CASES, indirect=["kind"])
async def test_a_call_works_with_every_parameter(sdk: Sdk, kind: Kind, part: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`checkpoint_during` is deprecated", DeprecationWarning)
        await calls(part)[name](sdk)
    given = getattr(sdk, part).given[name]
    assert methods(kind, part)[name].parameters.keys() - given == set()
