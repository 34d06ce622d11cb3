"""What bodies may hold: the edge of each limit, and a detail that names its setting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.limits import LIMITS
from treadle.errors import InvalidRequest, TooManyStreams
from treadle.wire.limits import BodyLimits
from treadle_api.open_answers import PerClient, peer

SMALL = BodyLimits(
    bytes=1000, depth=10, page=5, batch=2, metadata_bytes=100, metadata_keys=3, metadata_key_chars=5
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=30,
)


def nested(depth: int) -> bytes:
    """Lists in objects in lists, so deep."""
    opened = b"".join(b"[" if level % 2 else b'{"a":' for level in range(depth))
    closed = b"".join(b"]" if level % 2 else b"}" for level in reversed(range(depth)))
    return opened + (b"" if depth % 2 == 0 else b"0") + closed


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    return 1 + max(map(depth_of, cast("list[Any]", value)), default=0) if isinstance(value, list) else 0


@settings(deadline=None)
@given(JSON, st.integers(1, 6))
def test_a_body_is_refused_exactly_if_it_is_deeper_than_it_may_be(value: Any, most: int) -> None:
    limits = replace(LIMITS, depth=most)
    data = json.dumps(value).encode()
    if depth_of(value) <= most:
        assert limits.read(data) == value
        return
    with pytest.raises(InvalidRequest, match="TREADLE_MAX_JSON_DEPTH"):
        limits.read(data)


@pytest.mark.parametrize("depth", [101, 999, 1001, 1_000_000])
def test_however_deep_a_body_is_it_is_refused_and_nothing_breaks(depth: int) -> None:
    assert LIMITS.read(nested(100))
    with pytest.raises(InvalidRequest, match="TREADLE_MAX_JSON_DEPTH"):
        LIMITS.read(nested(depth))


TOO_MUCH: list[tuple[Any, str]] = [
    ([{}, {}, {}], "body: it has 3 entries, and may have 2 (TREADLE_MAX_BATCH)"),
    ({"thread_ids": ["a"] * 3}, "thread_ids: it has 3 entries"),
    ({"run_ids": ["a"] * 3}, "run_ids: it has 3 entries"),
    ({"ids": ["a"] * 3}, "ids: it has 3 entries"),
    ({"supersteps": [{}] * 3}, "supersteps: it has 3 entries"),
    ({"metadata": dict.fromkeys("abcd")}, "metadata: it has 4 keys, and may have 3 (TREADLE_MAX_METADATA_KEYS)"),
    ({"metadata": {"abcdef": 1}}, "metadata: the key that begins with 'abcdef' has 6 characters"),
    ({"metadata": {"a": "x" * 100}}, "metadata: it takes 108 bytes, and may take 100 (TREADLE_MAX_METADATA_BYTES)"),
    ({"config": {"metadata": {"abcdef": 1}}}, "config.metadata: the key"),
    ({"params": {"metadata": {"abcdef": 1}}}, "params.metadata: the key"),
    ({"params": {"config": {"metadata": {"abcdef": 1}}}}, "params.config.metadata: the key"),
    ([{"metadata": {"abcdef": 1}}], "metadata: the key"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "detail"), TOO_MUCH)
def test_what_is_too_much_is_refused_with_its_place_and_the_limits_setting(body: Any, detail: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        SMALL.read(json.dumps(body).encode())
    assert detail in str(refused.value)
    assert "TREADLE_MAX_" in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        [{}, {}],
        {"run_ids": ["a"] * 2, "input": ["a"] * 99},
        {"metadata": {"abcde": 1, "b": 2, "c": 3}, "input": {"metadata": dict.fromkeys("abcdefgh")}},
        {"metadata": {"a": "x" * 92}, "input": "x" * 200},
        {"metadata": None, "config": None, "params": None, "thread_ids": "no list"},
        7,
    ],
)
def test_what_is_just_not_too_much_is_read(body: Any) -> None:
    assert SMALL.read(json.dumps(body).encode()) == body


def test_a_client_may_have_so_many_answers_open_and_others_are_none_of_its_business() -> None:
    held = PerClient(2)
    held.take("a")
    held.take("a")
    with pytest.raises(TooManyStreams, match="TREADLE_MAX_STREAMS_PER_CLIENT"):
        held.take("a")
    held.take("b")
    held.give_back("a")
    held.take("a")


def test_no_limit_of_streams_is_no_limit() -> None:
    held = PerClient(0)
    for _ in range(5000):
        held.take("a")


@pytest.mark.parametrize(
    ("scope", "client"),
    [
        ({"client": ("192.0.2.7", 4)}, "192.0.2.7"),
        ({"client": ("2001:db8:1:2:3::4", 4)}, "2001:db8:1:2::/64"),
        ({"client": ("fe80::1%eth0", 4)}, "fe80::/64"),
        ({"client": None}, ""),
        ({}, ""),
    ],
)
def test_a_client_is_its_address_and_of_ipv6_its_network(scope: Mapping[str, Any], client: str) -> None:
    assert peer(scope) == client  # pyright: ignore[reportArgumentType]
