"""What checkpoints are written as and read from: langgraph's own format, with fewer types."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import sys
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, SecretStr

from treadle.checkpoint.revivable import Project, Revivable
from treadle.checkpoint.serde import StrictSerializer, serializer_of
from treadle.errors import ConfigError, Unreadable
from treadle.graphs.config import read_config


@dataclass
class Own:
    name: str


class OwnModel(BaseModel):
    name: str


class NoData:
    """Has what langgraph takes for pydantic, and holds no data."""

    def __init__(self, **given: Any) -> None:
        raise AssertionError("it was called")


def call_me(*given: Any, **more: Any) -> None:
    raise AssertionError("it was called")


def strict(*names: tuple[str, ...], folders: tuple[Path, ...] = ()) -> StrictSerializer:
    return StrictSerializer(Revivable(Project(folders), names))


def ext(module: str, name: str, argument: Any, code: int = 0, *more: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb((module, name, argument, *more))))


HERE = Path(__file__).parent
KNOWN = [
    None,
    b"bytes",
    bytearray(b"bytes"),
    {"a": [1, 2.5, "x", True]},
    {1, 2},
    frozenset({1}),
    deque([1]),
    datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    date(2026, 1, 2),
    time(1, 2),
    timedelta(3),
    ZoneInfo("Europe/Berlin"),
    uuid.UUID(int=1),
    Decimal("1.5"),
    Path("a/b"),
    re.compile("a+"),
    ipaddress.ip_address("10.0.0.1"),
    ipaddress.ip_network("fd00::/8"),
    SecretStr("s"),
    HumanMessage("hi", id="1"),
    AIMessage("hi", tool_calls=[{"name": "a", "args": {"b": 1}, "id": "2"}]),
    AIMessageChunk(content="hi"),
    ToolMessage("hi", tool_call_id="2"),
    Document("text", metadata={"a": 1}),
    Send("node", {"a": Decimal("1")}),
    Interrupt("value", id="3"),
    Command(update={"a": 1}, goto="b"),
]  # fmt: skip


@pytest.mark.parametrize("value", KNOWN, ids=lambda value: type(value).__name__)
def test_what_langgraph_knows_to_be_safe_is_read_as_any_langgraph_wrote_it(value: Any) -> None:
    written = JsonPlusSerializer().dumps_typed(value)
    assert strict().dumps_typed(value) == written
    assert strict().loads_typed(written) == value


def test_messages_of_before_msgpack_are_read() -> None:
    message = {
        "lc": 2,
        "type": "constructor",
        "id": ["langchain_core", "messages", "human", "HumanMessage"],
        "kwargs": {"content": "hi", "type": "human"},
    }
    assert strict().loads_typed(("json", json.dumps([message]).encode())) == [HumanMessage("hi")]


@pytest.mark.parametrize("value", [Own("a"), OwnModel(name="a")], ids=lambda value: type(value).__name__)
def test_a_data_type_is_read_if_the_project_has_it_or_it_is_named_and_is_inert_otherwise(value: Any) -> None:
    written = strict().dumps_typed([value])
    assert strict(folders=(HERE,)).loads_typed(written) == [value]
    assert strict((__name__, type(value).__name__)).loads_typed(written) == [value]
    assert strict(folders=(HERE / "elsewhere",)).loads_typed(written) == [{"name": "a"}]


def test_what_the_schema_of_a_graph_names_is_read_from_then_on_without_a_clone() -> None:
    serde = strict()
    written = serde.dumps_typed(Own("a"))
    assert serde.with_msgpack_allowlist([Own]) is serde
    assert serde.loads_typed(written) == Own("a")


@pytest.mark.parametrize(
    "planted",
    [
        ext("os", "system", "touch /tmp/never"),
        ext("subprocess", "Popen", ["touch", "/tmp/never"]),
        ext("subprocess", "Popen", ["touch", "/tmp/never"], 1),
        ext("builtins", "eval", "call_me()"),
        ext("builtins", "__import__", "antigravity"),
        ext(__name__, "call_me", "x"),
        ext(__name__, "call_me", ["x"], 1),
        ext(__name__, "call_me", {"a": 1}, 2),
        ext(__name__, "call_me", "x", 3, "__call__"),
        ext("pathlib", "Path", "/tmp/never", 3, "touch"),
        ext(__name__, "NoData", {"a": 1}, 4),
        ext(__name__, "NoData", {"a": 1}, 5, "model_validate_json"),
        ext(__name__, "sys", "x"),
        ext("", "", "x"),
        ext("a\0b", "c", "x"),
    ],
)
def test_nothing_that_is_no_type_of_data_is_called_and_nothing_is_imported(
    planted: tuple[str, bytes],
) -> None:
    before = set(sys.modules)
    argument = ormsgpack.unpackb(planted[1], ext_hook=lambda _, data: ormsgpack.unpackb(data))[2]
    assert strict(folders=(HERE,)).loads_typed(planted) == argument
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", [["os", "system"], [1, 2], [["os"], "system"], [None, None], []])
def test_a_name_that_is_none_is_inert(name: list[Any]) -> None:
    data = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb([*name, "x"][:3])))
    assert strict(folders=(Path("/"),)).loads_typed(("msgpack", data)) in ("x", None)


def test_the_standard_library_and_what_is_installed_are_no_project_wherever_its_folder_is() -> None:
    everywhere = Project([Path("/")])
    assert everywhere.defines(__name__, "Own")
    assert not everywhere.defines("inspect", "Parameter")
    assert not everywhere.defines("inspect", "FullArgSpec")
    assert not everywhere.defines("langchain_core.documents.base", "Document")
    assert not everywhere.defines(__name__, "BaseModel")
    assert Project([], ["langchain_core"]).defines("langchain_core.documents.base", "Document")


def test_a_module_without_a_file_is_no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", made)
    kind = dataclass(type("Thing", (), {"__module__": "made_up"}))
    monkeypatch.setattr(made, "Thing", kind, raising=False)
    assert not Project([Path("/")]).defines("made_up", "Thing")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (("pickle", b"anything"), "format 'pickle', which is not read"),
        (("yaml", b"anything"), "format 'yaml', which is not read"),
        (("msgpack", b"\xc1"), "no msgpack"),
        (("msgpack", b"\x91" * 100_000), "no msgpack"),
        (("json", b"{"), "no json"),
    ],
)
def test_what_cannot_be_read_is_said_to_be_unreadable(data: tuple[str, bytes], told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        strict().loads_typed(data)


def configured(folder: Path, serde: Any) -> JsonPlusSerializer:
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "checkpointer": {"serde": serde}}))
    return serializer_of(read_config(path))


@pytest.fixture
def langgraph_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the services, which see to it before they import langgraph."""
    monkeypatch.setattr("langgraph.checkpoint.serde._msgpack.STRICT_MSGPACK_ENABLED", True)


@pytest.mark.usefixtures("langgraph_is_strict")
def test_langgraph_json_names_types_as_a_path_or_as_module_and_name(tmp_path: Path) -> None:
    written = strict().dumps_typed(Own("a"))
    for path in ([__name__, "Own"], [*__name__.split("."), "Own"]):
        assert configured(tmp_path, {"allowed_msgpack_modules": [path]}).loads_typed(written) == Own("a")
    assert configured(tmp_path, {}).loads_typed(written) == {"name": "a"}
    assert configured(tmp_path, None).loads_typed(written) == {"name": "a"}
    assert configured(tmp_path, {"allowed_msgpack_modules": True}).loads_typed(written) == Own("a")


@pytest.mark.usefixtures("langgraph_is_strict")
def test_pickle_and_old_types_are_read_if_langgraph_json_says_so(tmp_path: Path) -> None:
    unkept = {"a": slice(1)}
    pickling = configured(tmp_path, {"pickle_fallback": True})
    assert pickling.loads_typed(pickling.dumps_typed(unkept)) == unkept
    own = {"lc": 2, "type": "constructor", "id": [*__name__.split("."), "Own"], "args": ["a"]}
    old = "json", json.dumps(own).encode()
    assert configured(tmp_path, {"allowed_json_modules": [own["id"]]}).loads_typed(old) == Own("a")
    assert configured(tmp_path, {}).loads_typed(old) != Own("a")


def test_without_langgraphs_strict_mode_everything_is_read_as_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert configured(tmp_path, {}).loads_typed(strict().dumps_typed(Own("a"))) == Own("a")


@pytest.mark.parametrize(
    ("serde", "told"),
    [
        ({"allowed_modules": []}, "allowed_modules"),
        ({"pickle_fallback": "yes"}, "pickle_fallback"),
        ({"allowed_msgpack_modules": ["os"]}, r"allowed_msgpack_modules\[0\]"),
        ({"allowed_msgpack_modules": [["os"]]}, r"allowed_msgpack_modules\[0\]"),
        ({"allowed_json_modules": [["os", ""]]}, r"allowed_json_modules\[0\]\[1\]"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_with_its_key(tmp_path: Path, serde: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configured(tmp_path, serde)
