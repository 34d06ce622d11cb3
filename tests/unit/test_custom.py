"""Parts of the user's own that langgraph.json names by path: in which forms they come, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from treadle.errors import ConfigError
from treadle.graphs.config import Config
from treadle.graphs.custom import open_custom

CODE = """
from contextlib import asynccontextmanager, contextmanager
from langgraph.store.memory import InMemoryStore

instance = InMemoryStore()
log = []

def plain(): return InMemoryStore()
async def waited(): return InMemoryStore()

@contextmanager
def managed():
    yield InMemoryStore()
    log.append("closed")

@asynccontextmanager
async def awaited():
    yield InMemoryStore()
    log.append("closed")

number = 1
def nothing(): return None
def failing(): raise OSError("no such host")
def needing(argument): return InMemoryStore()
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "own.py").write_text(CODE, encoding="utf-8")
    return Config(tmp_path / "langgraph.json", {}, (tmp_path,), {})


@pytest.mark.parametrize("name", ["instance", "plain", "waited", "managed", "awaited", "InMemoryStore"])
async def test_each_form_gives_its_part(config: Config, name: str) -> None:
    async with open_custom(config, "store.path", f"./own.py:{name}", BaseStore) as store:
        assert isinstance(store, InMemoryStore)


@pytest.mark.parametrize("name", ["managed", "awaited"])
async def test_a_context_manager_is_left_at_the_end(config: Config, name: str) -> None:
    async with open_custom(config, "store.path", f"./own.py:{name}", BaseStore):
        pass
    async with open_custom(config, "store.path", "./own.py:log", object) as log:
        assert log == ["closed"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("number", "gives a int: it must give a BaseStore"),
        ("nothing", "gives a NoneType"),
        ("failing", "OSError: no such host"),
        ("needing", "TypeError"),
        ("missing", "no attribute 'missing'"),
    ],
)
async def test_what_cannot_be_used_is_named(config: Config, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"langgraph\.json: `store\.path`") as raised:
        async with open_custom(config, "store.path", f"./own.py:{name}", BaseStore):
            pass
    assert told in str(raised.value)
