"""Whatever a parser is given, it gives back a value, or the error that it documents, and never another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits import ADDRESSES, LIMITS
from treadle.checkpoint.revivable import Project, Revivable
from treadle.checkpoint.serde import StrictSerializer
from treadle.db.dsn import parse
from treadle.errors import ConfigError, InvalidRequest, Unreadable
from treadle.graphs.config import Config, ConfigFile, read_config
from treadle.messaging.requests import SOURCE, DurableRequest, again, check_name, name_of
from treadle.operations.ids import read_id
from treadle.schedules import Schedule
from treadle.settings import Settings, load
from treadle.store.filters import conditions
from treadle.store.items import check_name as check_item
from treadle.store.items import storable
from treadle.streaming import parse_last_event_id
from treadle.webhooks.policy import networks
from treadle.wire.direct import CancelRequest, WaitRequest
from treadle.wire.reading import read_body
from treadle.wire.runs import NewRun
from treadle_api.bodies.threads import ThreadSearchBody
from treadle_api.extract import read_paths
from treadle_api.operations.memory import _labels  # pyright: ignore[reportPrivateUsage]
from treadle_api.operations.thread_streams import parse_modes, parse_place
from treadle_api.selection import read_selection

SOME = settings(max_examples=60, deadline=None)
# All that Python's strings can hold, half surrogates and NUL among it, and what parsers trip over.
odd = st.sampled_from(
    ("", "\0", "..", "/", "~", "~root/x", "\ud800", "%", "${{", "[", "-1", "0", "\u0660", "a" * 5000)
)
text = odd | st.text(max_size=12)
plain = st.none() | st.booleans() | st.integers() | st.floats() | text
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)


def fields_of(kind: Any) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def objects(names: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with members of these names."""
    return st.dictionaries(st.sampled_from(names), values, max_size=5)


# --- langgraph.json ---

references = st.sampled_from(("./a.py:graph", "a.b:c", ":", "a:", "./\0:x", "a:b c")) | text
nested_keys = [
    "path",
    "index",
    "ttl",
    "serde",
    "embed",
    "dims",
    "fields",
    "strategy",
    "default_ttl",
    "url",
    "headers",
]
nested_keys += [
    "cors",
    "allow_origin_regex",
    "mount_prefix",
    "app",
    "configurable_headers",
    "env_prefix",
    "X-A",
]
nested_keys += ["allowed_json_modules", "allowed_msgpack_modules", "pickle_fallback", "sweep_limit"]
section = st.recursive(
    plain | references | st.sampled_from(("(", "/api", "local", "a:b", "${{ env.LG_WEBHOOK_A }}")),
    lambda inner: st.lists(inner, max_size=2) | objects(nested_keys, inner),
    max_leaves=6,
)
parts = {
    "graphs": st.dictionaries(st.just("agent") | text, references | values, max_size=3) | values,
    "env": st.dictionaries(text, plain, max_size=3) | text | values,
    "dependencies": st.lists(
        st.sampled_from((".", "./", "..", "./\0", "./none", "name")) | text.map(".{}".format)
    ),
}
# One part of it is anything: whatever is wrong with another one would be all that is found.
configs = st.sampled_from(fields_of(ConfigFile)).flatmap(
    lambda name: parts.get(name, section).map(lambda part: {"graphs": {"agent": "./a.py:graph"}, name: part})
)


def read(folder: Path, data: bytes) -> Config | ConfigError:
    file = folder / "langgraph.json"
    file.write_bytes(data)
    try:
        return read_config(file)
    except ConfigError as error:
        return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@settings(SOME, max_examples=300)
@given(configs)
def test_langgraph_json_is_a_config_or_refused(folder: Path, given: dict[str, Any]) -> None:
    read(folder, json.dumps(given).encode())


@SOME
@given(st.binary(max_size=40) | values.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_langgraph_json_is_refused(folder: Path, data: bytes) -> None:
    assert isinstance(read(folder, data), ConfigError)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"graphs":' * 100_000, b"\xff", b"", b'{"graphs": {"a": "\xff"}}']
)
def test_a_langgraph_json_that_breaks_parsers_is_refused(folder: Path, data: bytes) -> None:
    assert isinstance(read(folder, data), ConfigError)


@SOME
@given(st.binary(max_size=60) | text.map(lambda line: f"A={line}".encode("utf-8", "surrogatepass")))
def test_a_file_of_variables_is_read_or_refused(folder: Path, data: bytes) -> None:
    (folder / ".env").write_bytes(data)
    found = read(folder, b'{"graphs": {"a": "./a.py:graph"}, "env": ".env"}')
    assert isinstance(found, ConfigError) or all(
        "\0" not in f"{name}{value}" for name, value in found.env.items()
    )


# --- settings ---

names = [field.name.upper() for field in msgspec.structs.fields(Settings)]
settings_text = (
    text
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(("on", "off", "yes", "postgres://"))
)


@settings(SOME, max_examples=200)
@given(st.dictionaries(st.sampled_from(names), settings_text, max_size=4))
def test_settings_are_read_or_the_one_that_is_wrong_is_named(environ: Mapping[str, str]) -> None:
    try:
        load({**ADDRESSES, **environ})
    except ConfigError as error:
        assert any(name in str(error) for name in environ)  # noqa: PT017 - either is right


@SOME
@given(text | st.builds("postgres://{}:{}@{}/{}?{}".format, text, text, text, text, text))
def test_an_address_of_postgres_is_read_or_refused(dsn: str) -> None:
    with suppress(ConfigError):
        parse(load({**ADDRESSES, "DATABASE_URI": dsn}).database_uri)


@SOME
@given(text | st.lists(text, max_size=3).map(", ".join))
def test_networks_are_read_or_refused(given: str) -> None:
    with suppress(ConfigError):
        networks(given)


# --- schedules ---

number = st.integers(-1, 100).map(str)
field = st.one_of(number, st.just("*"), st.builds("{}-{}/{}".format, number, number, number), text)
expressions = st.lists(field, max_size=7).map(" ".join) | st.sampled_from(("@daily", "@never", "* * * * * *"))
zones = (
    st.sampled_from((None, "Europe/Berlin", "America", "../UTC", "/etc/localtime", "posixrules", "a\0b"))
    | text
)


@settings(SOME, max_examples=200)
@given(expressions, zones)
def test_a_schedule_is_due_some_day_or_refused(expression: str, zone: str | None) -> None:
    now = datetime.now(UTC)
    with suppress(InvalidRequest):
        due = Schedule(expression, zone).after(now)
        assert due is not None
        assert due > now


# --- NATS ---


@SOME
@given(text | st.text(max_size=600), text)
def test_a_name_of_a_request_is_taken_or_refused_and_the_same_when_it_is_published_again(
    name: str, nonce: str
) -> None:
    with suppress(InvalidRequest):
        check_name(name)
        assert len(name) <= 512
        assert name.isprintable()
    if ";" not in nonce and "\n" not in nonce and not name.startswith("Treadle-Retry:"):
        assert name_of(again(name, nonce)) == name


@SOME
@given(text | st.from_regex(SOURCE))
def test_a_source_of_requests_is_one_token_of_a_subject_or_refused(source: str) -> None:
    request = DurableRequest(
        subject=f"treadle.requests.{source}", source=source, message_id="a", body=b"", headers={}, place="1",
        stored_at=datetime.now(UTC), deliveries=1,
    )  # fmt: skip
    with suppress(InvalidRequest):
        request.check()
        assert source.isascii()
        assert not set(source) & set(". *>\t\r\n\0")


# --- what clients send ---

READERS: list[Callable[[str], Any]] = [
    parse_last_event_id,
    parse_place,
    lambda given: parse_modes([given]),
    lambda given: read_selection([given]),
    lambda given: read_paths({given: given}),
    lambda given: read_paths({"a": f"values.{given}"}),
    lambda given: read_id("thread", given),
    lambda given: _labels("namespace", given.split(".")),
    lambda given: check_item([given, given], given),
]


@pytest.mark.parametrize("read", READERS)
@SOME
@given(text | st.from_regex(r"-?[0-9]{0,20}(-[0-9]{0,20})?", fullmatch=True) | st.text(".[]-, ", max_size=12))
def test_a_text_of_a_client_is_read_or_refused(read: Callable[[str], Any], given: str) -> None:
    with suppress(InvalidRequest):
        read(given)


@pytest.mark.parametrize("kind", [NewRun, WaitRequest, CancelRequest, ThreadSearchBody])
@SOME
@given(st.data())
def test_a_body_is_its_type_or_refused(kind: Any, data: st.DataObject) -> None:
    body = data.draw(objects([*fields_of(kind), "more"], values) | values)
    with suppress(InvalidRequest):
        assert isinstance(read_body(json.dumps(body).encode(), kind, LIMITS), kind)


@SOME
@given(st.binary(max_size=60))
def test_bytes_are_a_body_or_refused(data: bytes) -> None:
    with suppress(InvalidRequest):
        read_body(data, NewRun, LIMITS)


OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "a"]


@SOME
@given(st.dictionaries(text, values | objects(OPERATORS, values), max_size=3))
def test_a_filter_is_a_condition_or_refused(given: dict[str, Any]) -> None:
    with suppress(InvalidRequest):
        assert all(sql.count("%s") == len(given) for sql, given in conditions(given))


@SOME
@given(st.dictionaries(text, values, max_size=3))
def test_a_value_of_the_store_is_what_jsonb_can_hold_or_refused(given: dict[str, Any]) -> None:
    with suppress(InvalidRequest):
        written = json.dumps(storable(given), ensure_ascii=False, allow_nan=False)
        assert "\\u0000" not in written.replace("\\\\", "")
        written.encode()


# --- what is kept ---

KINDS = st.sampled_from(("msgpack", "json", "pickle", "bytes", "bytearray", "null", "msgpack+aes")) | text


@SOME
@given(KINDS, st.binary(max_size=80) | values.map(lambda value: json.dumps(value).encode()))
def test_what_a_checkpoint_holds_is_read_or_unreadable(kind: str, data: bytes) -> None:
    with suppress(Unreadable):
        StrictSerializer(Revivable(Project([]))).loads_typed((kind, data))
