"""Events as server-sent events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from treadle import json
from treadle.streaming import HEARTBEAT, Event, EventId, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_a_frame_has_event_data_and_id() -> None:
    event = Event(EventId(2, 7), "values", b'{"a":1}')
    assert encode(event) == b'event: values\r\ndata: {"a":1}\r\nid: 2-7\r\n\r\n'


def test_a_frame_may_go_without_an_id() -> None:
    event = Event(EventId(2, 7), "values|node:1", b"[]")
    assert encode(event, with_id=False) == b"event: values|node:1\r\ndata: []\r\n\r\n"


def test_a_heartbeat_is_a_comment() -> None:
    assert HEARTBEAT.startswith(b":")
    assert HEARTBEAT.endswith(b"\r\n\r\n")


@given(values)
def test_any_data_stays_in_one_frame_and_on_one_line(value: object) -> None:
    data = json.encode(value)
    frame = encode(Event(EventId(1, 0), "values", data))
    lines = frame.splitlines()
    assert lines == [b"event: values", b"data: " + data, b"id: 1-0", b""]
