"""The issuer's keys are fetched as seldom as can be, change without a restart, and outlast the issuer's absence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.issuer import DISCOVERY, JWKS, TestIssuer, open_issuer
from tests.tokens import accepting, caller
from treadle.errors import Unauthorized, Unavailable
from treadle.identity.issuer import Issuer
from treadle.identity.key_set import KeySet, Times

AT_ONCE = Times(spacing_secs=0)


@pytest.fixture
async def issuer() -> AsyncGenerator[TestIssuer]:
    async with open_issuer() as issuer:
        yield issuer


async def test_keys_change_without_a_restart_and_what_an_old_one_signed_is_refused(
    issuer: TestIssuer,
) -> None:
    async with accepting(issuer, AT_ONCE) as tokens:
        old = issuer.token()
        assert await caller(tokens, old)

        issuer.keys.clear()
        issuer.publishes("two", number=1)
        assert await caller(tokens, issuer.token("two", number=1))
        with pytest.raises(Unauthorized, match=r"a key .* that the issuer does not have"):
            await caller(tokens, old)


async def test_all_who_wait_for_keys_wait_for_one_fetch(issuer: TestIssuer) -> None:
    issuer.held.clear()
    async with accepting(issuer, Times()) as tokens:
        waiting = [asyncio.create_task(caller(tokens, issuer.token(jti=str(n)))) for n in range(100)]
        await issuer.got(DISCOVERY, 1)
        issuer.held.set()

        assert all(await asyncio.gather(*waiting))
    assert issuer.asked == {DISCOVERY: 1, JWKS: 1}


async def test_a_storm_of_unknown_keys_makes_one_fetch_in_a_while(issuer: TestIssuer) -> None:
    now = 0.0
    keys = KeySet(Issuer(issuer.url, None).keys, Times(spacing_secs=10), lambda: now)
    keys.start()
    assert await keys.fitting("RS256", "one")

    for now, fetches in ((9.9, 1), (10.0, 2), (19.9, 2), (20.0, 3)):
        found = await asyncio.gather(*(keys.fitting("RS256", f"{now}-{n}") for n in range(200)))
        assert found == [[]] * 200
        assert issuer.asked[JWKS] == fetches
    await keys.stop()


async def test_keys_are_fetched_again_before_anybody_asks(issuer: TestIssuer) -> None:
    async with accepting(issuer, Times(refresh_secs=0.01)) as tokens:
        await issuer.got(JWKS, 3)
        assert await caller(tokens, issuer.token())


async def test_while_the_issuer_is_away_its_keys_are_good_and_others_may_be(issuer: TestIssuer) -> None:
    async with accepting(issuer, Times(refresh_secs=0.01, retry_secs=0.01)) as tokens:
        assert await caller(tokens, issuer.token())
        issuer.answers[JWKS] = 500, b""
        await issuer.got(JWKS, issuer.asked[JWKS] + 3)

        assert await caller(tokens, issuer.token(jti="new"))
        with pytest.raises(Unavailable, match=r"/keys answered 500\. Nobody can say"):
            await caller(tokens, issuer.token("two", number=1))

        issuer.publishes("two", number=1)
        del issuer.answers[JWKS]
        await issuer.got(JWKS, issuer.asked[JWKS] + 2)
        assert await caller(tokens, issuer.token("two", number=1))


async def test_an_issuer_that_was_never_there_leaves_it_open_who_asks_until_it_comes() -> None:
    async with open_issuer() as issuer:
        await issuer.close()
        async with accepting(issuer, Times(first_retry_secs=0.01)) as tokens:
            with pytest.raises(
                Unavailable, match=r"could not be fetched \(http://127.0.0.1:\d+\): ConnectError"
            ):
                await caller(tokens, issuer.token())
            await issuer.open()
            await issuer.got(JWKS, 1)

            assert await caller(tokens, issuer.token())


@pytest.mark.parametrize(
    ("path", "answer", "why"),
    [
        (DISCOVERY, b"no JSON", "its configuration is not JSON"),
        (DISCOVERY, b"[]", "its configuration is that of None"),
        (
            DISCOVERY,
            {"issuer": "https://another"},
            "is that of 'https://another', and its name must be the same",
        ),
        (
            DISCOVERY,
            {"jwks_uri": "http://keys.example"},
            "`jwks_uri` cannot be used: keys are fetched over https only",
        ),
        (DISCOVERY, {"jwks_uri": None}, "`jwks_uri` cannot be used"),
        (JWKS, b"no JSON", "it is not JSON"),
        (JWKS, b'{"keys": []}', "there is none among them"),
        (JWKS, b" " * (2 << 20), "answered more than 1048576 bytes"),
    ],
)
async def test_what_an_issuer_publishes_wrongly_is_named(
    issuer: TestIssuer, path: str, answer: bytes | dict[str, Any], why: str
) -> None:
    said = answer if isinstance(answer, bytes) else json.dumps({"issuer": issuer.url, **answer}).encode()
    issuer.answers[path] = 200, said

    with pytest.raises(Unavailable, match=why):
        await Issuer(issuer.url, None).keys()


async def test_keys_that_lead_elsewhere_are_not_followed(issuer: TestIssuer) -> None:
    issuer.answers[JWKS] = 302, b""

    with pytest.raises(Unavailable, match="answered 302"):
        await Issuer(None, issuer.url + JWKS).keys()
