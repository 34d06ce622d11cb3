"""Event ids as text: what Treadle gives out it reads again, and nothing else passes for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import InvalidRequest
from treadle.streaming import EventId, parse_last_event_id

LARGEST = 10**15 - 1

numbers = st.integers(min_value=0, max_value=LARGEST)
ids = st.builds(EventId, numbers, numbers)
LOOKS_LIKE_AN_ID = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})", re.ASCII)
nearly_ids = st.from_regex(r"\A[ +-]?[0-9\u0660-\u0669]{1,17}[-_ ][ +-]?[0-9]{1,17}\s?\Z") | st.text(
    max_size=20
)


@given(ids)
def test_an_id_survives_being_text(event_id: EventId) -> None:
    assert EventId.parse(str(event_id)) == event_id


@given(ids, ids)
def test_ids_order_events_by_attempt_and_then_by_number(one: EventId, other: EventId) -> None:
    assert (one < other) == (
        one.attempt < other.attempt or (one.attempt == other.attempt and one.n < other.n)
    )
    assert one < one.next


@given(nearly_ids)
def test_text_is_either_exactly_an_id_or_refused(text: str) -> None:
    if LOOKS_LIKE_AN_ID.fullmatch(text):
        assert str(EventId.parse(text)) == text
        return
    with pytest.raises(InvalidRequest, match="is not an event id"):
        EventId.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1-",
        "-1",
        "1-2-3",
        "01-2",
        "1-02",
        " 1-2",
        "1-2\n",
        "+1-2",
        "1_0-2",
        "\u0661-2",
        f"1-{10**15}",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="<attempt>-<n>"):
        EventId.parse(text)


def test_a_refusal_does_not_repeat_a_long_text() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        EventId.parse("9" * 10_000)
    assert len(str(refusal.value)) < 300


@given(ids)
def test_last_event_id_resumes_after_that_event(event_id: EventId) -> None:
    assert parse_last_event_id(str(event_id)) == event_id


@pytest.mark.parametrize("value", [None, "", "-1", "0"])
def test_who_names_no_event_gets_all_of_them(value: str | None) -> None:
    assert parse_last_event_id(value) is None


@given(nearly_ids.filter(lambda text: text not in ("", "-1", "0") and not LOOKS_LIKE_AN_ID.fullmatch(text)))
def test_a_malformed_last_event_id_is_refused_and_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Last-Event-ID") as refusal:
        parse_last_event_id(text)
    assert refusal.value.status == 422
