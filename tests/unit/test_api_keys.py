"""API keys without a server: their form, where they stand in a request."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.db.api_keys import Asked, GoodKey
from treadle.errors import Unauthorized
from treadle.identity.api_keys import FORM, MOST_REFUSED, ApiKeys, IssuedKey, issue
from treadle.identity.bearer import api_key, token
from treadle.identity.caller import Caller, Permission
from treadle.identity.remembered import Remembered

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class OneKey:
    """Says that one key is good, and keeps how it was asked."""

    def __init__(self, issued: IssuedKey, secs_left: float | None = None) -> None:
        self.asked: list[list[Asked]] = []
        self.key: GoodKey | None = GoodKey(
            id=issued.id,
            hash=issued.hash,
            name="ci",
            tenant="acme",
            identity="ada",
            permissions=["read", "run", "fly"],
            secs_left=secs_left,
        )

    async def __call__(self, asked: Sequence[Asked]) -> dict[str, GoodKey]:
        self.asked.append(list(asked))
        return {self.key.id: self.key} if self.key else {}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


ISSUED = issue()
CALLER = Caller(
    identity="ada",
    tenant="acme",
    granted=frozenset({Permission.READ, Permission.RUN}),
    permissions=("read", "run", "fly"),
    more={"api_key": {"id": ISSUED.id, "name": "ci"}},
)


def test_an_issued_key_has_a_form_that_scanners_find_and_256_random_bits() -> None:
    keys_ = [issue() for _ in range(50)]

    assert all(FORM.fullmatch(key.text) and key.text.startswith(f"treadle_{key.id}_") for key in keys_)
    assert len({key.text.rpartition("_")[2] for key in keys_}) == 50
    assert 62 ** len(ISSUED.text.rpartition("_")[2]) > 2**256


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": ISSUED.text},
        {"x-api-key": f" {ISSUED.text} "},
        {"authorization": f"Bearer {ISSUED.text}"},
        {"authorization": f"bEARER   {ISSUED.text}"},
        {"x-api-key": "lsv2_pt_of_another_product", "authorization": f"Bearer {ISSUED.text}"},
        {"x-api-key": ISSUED.text, "authorization": "Bearer a.b.c"},
    ],
)
async def test_a_key_is_heeded_in_either_header(headers: dict[str, str]) -> None:
    assert await ApiKeys(OneKey(ISSUED)).caller(headers) == CALLER


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "lsv2_pt_of_another_product"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Basic " + base64.b64encode(b"ada:treadle_").decode()},
        {"authorization": ISSUED.text},
    ],
)
async def test_what_is_no_key_of_treadle_is_left_to_others(headers: dict[str, str]) -> None:
    assert await ApiKeys(OneKey(ISSUED)).caller(headers) is None


async def test_a_refusal_says_neither_why_nor_what_was_sent() -> None:
    other_secret = ISSUED.text[:-1] + ("a" if ISSUED.text[-1] != "a" else "b")
    for text in (other_secret, issue().text, "treadle_", f"{ISSUED.text}\N{LATIN SMALL LETTER E WITH ACUTE}"):
        with pytest.raises(Unauthorized, match="unknown, expired or revoked") as refused:
            await ApiKeys(OneKey(ISSUED)).caller({"x-api-key": text})
        assert text not in str(refused.value) or text == "treadle_"


TEXTS = st.one_of(
    st.text(),
    st.text().map(lambda text: f"treadle_{text}"),
    st.from_regex(FORM, fullmatch=True),
    st.text().map(lambda text: f"{ISSUED.text}{text}"),
)


@given(key=TEXTS, scheme=st.sampled_from(["Bearer ", "bearer\t", "Basic ", ""]), bearer=TEXTS)
@settings(deadline=None)
async def test_any_header_gives_a_caller_or_none_or_is_refused(key: str, scheme: str, bearer: str) -> None:
    headers = {"x-api-key": key, "authorization": scheme + bearer}
    found = api_key(headers)
    token(headers)
    try:
        caller = await ApiKeys(OneKey(ISSUED)).caller(headers)
    except Unauthorized:
        assert found is not None
    else:
        assert (caller is None) == (found is None)
        assert caller is None or found == ISSUED.text


async def test_a_key_is_asked_for_once_in_five_seconds_and_not_at_all_past_its_end() -> None:
    clock, rows = Clock(), OneKey(ISSUED)
    keys_ = ApiKeys(rows, clock=clock)
    for clock.now in (0, 1, 4.9):
        assert await keys_.caller({"x-api-key": ISSUED.text}) == CALLER
    assert len(rows.asked) == 1

    rows.key = None  # revoked
    clock.now = 5
    with pytest.raises(Unauthorized):
        await keys_.caller({"x-api-key": ISSUED.text})
    with pytest.raises(Unauthorized):
        await keys_.caller({"x-api-key": ISSUED.text})
    assert len(rows.asked) == 2

    clock.now, rows = 0, OneKey(ISSUED, secs_left=2)
    keys_ = ApiKeys(rows, clock=clock)
    for clock.now in (0, 1.9, 2):
        await keys_.caller({"x-api-key": ISSUED.text})
    assert len(rows.asked) == 2


def test_what_is_remembered_is_bounded_and_the_least_used_makes_room() -> None:
    clock = Clock()
    remembered = Remembered[int](3, clock)
    for number in range(3):
        remembered.keep(bytes([number]), number, secs=10)
    assert remembered.get(b"\0") == 0
    remembered.keep(b"new", 3, secs=20)

    assert [remembered.get(each) for each in (b"\0", b"\1", b"\2", b"new")] == [0, None, 2, 3]
    clock.now = 10
    assert [remembered.get(each) for each in (b"\0", b"new")] == [None, 3]
    assert len(remembered) == 2
    assert MOST_REFUSED <= 10_000
