"""What is wanted of a state, and paths into a thread."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from treadle.errors import InvalidRequest
from treadle_api.extract import read_paths
from treadle_api.operations.snapshots import empty_state
from treadle_api.selection import read_selection


def selected(*names: str) -> dict[str, Any]:
    state = empty_state()
    state.values, state.next = {"a": 1, "b": 2}, ["n"]
    return msgspec.to_builtins(read_selection(names).of(state))


def test_what_is_selected_is_all_there_is() -> None:
    assert selected("next", "created_at") == {"next": ["n"], "created_at": None}
    assert set(selected()) == set(msgspec.to_builtins(empty_state()))


def test_keys_of_values_are_selected_one_by_one() -> None:
    assert selected("values.a") == {"values": {"a": 1}}
    assert selected("values.a,values.b,next") == {"values": {"a": 1, "b": 2}, "next": ["n"]}
    assert selected("values.a", "values") == {"values": {"a": 1, "b": 2}}
    assert selected("values.c") == {"values": {}}


def test_what_a_state_does_not_have_cannot_be_selected() -> None:
    with pytest.raises(InvalidRequest, match=r"^select: 'nothing' is not one of: values, next,"):
        read_selection(["values", "nothing"])


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("values", []),
        ("values.a.b", ["a", "b"]),
        ("values.a[0]", ["a", "0"]),
        ("values.a[-1].b[2]", ["a", "-1", "b", "2"]),
        ("values[0]", ["0"]),
        ("values..a.", ["a"]),
    ],
)
def test_paths_lead_through_keys_and_indices(path: str, parts: list[str]) -> None:
    assert read_paths({"it": path}) == {"it": ("values", parts)}


@pytest.mark.parametrize("path", ["", ".", "status", "value", "valuesx.a", "thread_id.a"])
def test_paths_begin_where_there_are_parts(path: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^extract\.it: "):
        read_paths({"it": path})


@pytest.mark.parametrize("alias", ["", "a b", "1a", "a-b", "a;", "values"])
def test_aliases_are_identifiers_of_their_own(alias: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^extract: "):
        read_paths({alias: "values"})
