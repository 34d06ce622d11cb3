"""JSON at the boundaries: any value that a graph may hold has a form, and every form can be stored."""

from __future__ import annotations

import json as stdlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langgraph.types import Interrupt
from pydantic import BaseModel

from treadle import json

ID = UUID("12345678-1234-5678-1234-567812345678")


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Thread:
    colour: str


class Model(BaseModel):
    name: str
    when: date


class Word(str):
    """Kin of plain text, as langchain has it."""

    def __str__(self) -> str:
        return "<word>"


class Count(int):
    pass


class Share(float):
    pass


class Array:
    """Stands for numpy's and its kin."""

    def tolist(self) -> list[int]:
        return [1, 2]


class Stubborn:
    def dict(self, form: str) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return "<stubborn>"


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


VALUES: list[tuple[Any, Any]] = [
    (None, None),
    ({"a": [1, 2.5, True, "x"]}, {"a": [1, 2.5, True, "x"]}),
    ((1, 2), [1, 2]),
    ({3}, [3]),
    (deque([1]), [1]),
    (OrderedDict(a=1), {"a": 1}),
    (range(3), [0, 1, 2]),
    (ID, str(ID)),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    (Decimal("1.5"), "1.5"),
    (b"loom", "bG9vbQ=="),
    (Colour.RED, "red"),
    (Point(1, 2), [1, 2]),
    (Thread("red"), {"colour": "red"}),
    (Model(name="a", when=date(2026, 1, 2)), {"name": "a", "when": "2026-01-02"}),
    (Array(), [1, 2]),
    (Word("loom"), "loom"),
    (Count(3), 3),
    (Share(0.5), 0.5),
    (ValueError("no loom"), {"error": "ValueError", "message": "no loom"}),
    (Opaque(), "<opaque>"),
    (float("nan"), None),
    (float("inf"), None),
    ({1: "a"}, {"1": "a"}),
    ({(1, 2): "a"}, {"(1, 2)": "a"}),
    (2**70, 2**70),
    (AIMessage, repr(AIMessage)),
    (Stubborn(), "<stubborn>"),
]


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_every_value_has_a_form(value: Any, expected: Any) -> None:
    assert stdlib.loads(json.encode(value)) == expected
    assert stdlib.loads(json.encode({"in": [value]})) == {"in": [expected]}


def test_messages_and_interrupts_keep_their_fields() -> None:
    encoded = stdlib.loads(json.encode([AIMessage("hello", id="m"), Interrupt(value="sure?", id="i")]))

    assert encoded[0].items() >= {"type": "ai", "content": "hello", "id": "m"}.items()
    assert encoded[1].items() >= {"value": "sure?", "id": "i"}.items()


def test_half_a_surrogate_pair_is_replaced_rather_than_refused() -> None:
    assert stdlib.loads(json.encode({"text": "a\ud800b", "\udfff": 1})) == {"text": "a?b", "?": 1}


def test_a_value_that_holds_itself_is_cut_off() -> None:
    value: dict[str, Any] = {"a": 1}
    value["self"] = value

    assert stdlib.loads(json.encode(value))["self"]["self"]["a"] == 1


@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.binary(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_encoding_never_fails(value: Any) -> None:
    stdlib.loads(json.encode(value))


@given(st.text(alphabet='\0\\u0a"é', max_size=12))
def test_only_nul_is_left_out_for_jsonb(text: str) -> None:
    """Text that spells an escape, such as a backslash and "u0000", is no NUL."""
    assert stdlib.loads(json.jsonb_text(json.encode([text]))) == [text.replace("\0", "")]


def test_json_text_keeps_nul() -> None:
    assert stdlib.loads(json.text("a\0b")) == "a\0b"


def test_decoding_refuses_what_is_not_json() -> None:
    with pytest.raises(msgspec.DecodeError):
        json.decode(b"{")
