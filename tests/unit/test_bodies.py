"""Bodies: read into their types, refused with the name of the field."""

from __future__ import annotations

from uuid import UUID

import pytest
from msgspec import Struct

from tests.limits import LIMITS
from treadle.errors import InvalidRequest
from treadle.wire.direct import CancelRequest, JoinRequest
from treadle.wire.reading import read_body
from treadle.wire.runs import BatchRun

RUN = '"thread_id": "00000000-0000-0000-0000-000000000001", "run_id": "00000000-0000-0000-0000-000000000002"'


def test_a_body_becomes_its_type() -> None:
    body = read_body(f'{{{RUN}, "action": "rollback", "more": 1}}'.encode(), CancelRequest, LIMITS)
    assert (body.run_id, body.action, body.wait) == (UUID(int=2), "rollback", False)


def test_numbers_and_booleans_may_be_text() -> None:
    assert read_body(f'{{{RUN}, "timeout_secs": "1.5"}}'.encode(), JoinRequest, LIMITS).timeout_secs == 1.5
    assert read_body(f'{{{RUN}, "wait": "true"}}'.encode(), CancelRequest, LIMITS).wait


class Row(Struct):
    runs: list[BatchRun]


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        (b"", BatchRun, "Invalid JSON in request body: it is empty"),
        (b'{"a', BatchRun, "Invalid JSON in request body: Input data was truncated"),
        (b'"\xff"', BatchRun, "Invalid JSON in request body: "),
        (b"7", BatchRun, "body: Expected `object`, got `int`"),
        (b"{}", BatchRun, "body: Object missing required field `assistant_id`"),
        (b'{"assistant_id": "a", "input": {"x": []}, "metadata": 1}', BatchRun, "metadata: Expected `object | null`"),
        (b'{"assistant_id": "a", "durability": "x"}', BatchRun,
         "durability: Invalid enum value 'x'. Send one of: sync, async, exit"),
        (b'{"runs": [{}]}', Row, "runs[0]: Object missing required field `assistant_id`"),
        (b"[{}]", list[BatchRun], "[0]: Object missing required field `assistant_id`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_of_the_field(body: bytes, kind: type[object], detail: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_body(body, kind, LIMITS)
    assert str(refused.value).startswith(detail)
