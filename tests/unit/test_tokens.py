"""Bearer tokens: what proves who asks."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.issuer import AUDIENCE, JWKS, TestIssuer, open_issuer
from tests.tokens import accepting, caller, rules
from treadle.errors import Unauthorized
from treadle.identity.caller import ALL, DEFAULT_TENANT, Caller, Permission
from treadle.identity.issuer import Issuer
from treadle.identity.key_set import KeySet, Times
from treadle.identity.tokens import Tokens


@pytest.fixture
async def issuer() -> AsyncGenerator[TestIssuer]:
    async with open_issuer() as issuer:
        yield issuer


@pytest.fixture
async def tokens(issuer: TestIssuer) -> AsyncGenerator[Tokens]:
    async with accepting(issuer) as tokens:
        yield tokens


async def test_a_token_says_who_asks_in_which_tenant_and_what_it_may_do(
    issuer: TestIssuer, tokens: Tokens
) -> None:
    said: dict[str, Any] = {
        "tenant": "acme",
        "permissions": ["run", "treadle:read", "orders:write"],
        "roles": ["boss"],
        "jti": "7",
    }

    assert await caller(tokens, issuer.token(**said)) == Caller(
        identity="ada",
        tenant="acme",
        granted=frozenset({Permission.RUN, Permission.READ}),
        permissions=("run", "treadle:read", "orders:write"),
        more={"iss": issuer.url, "roles": ["boss"]},
    )


async def test_a_token_that_says_no_more_is_in_the_default_tenant_and_may_do_the_usual(
    issuer: TestIssuer, tokens: Tokens
) -> None:
    assert await caller(tokens, issuer.token()) == Caller(
        identity="ada",
        tenant=DEFAULT_TENANT,
        granted=ALL - {Permission.ADMINISTER},
        permissions=("read", "run", "resume", "update"),
        more={"iss": issuer.url},
    )


async def test_claims_are_called_as_the_issuer_calls_them(issuer: TestIssuer) -> None:
    async with accepting(
        issuer, TENANT_CLAIM="https://acme.example/org", PERMISSIONS_CLAIM="scope"
    ) as tokens:
        said: Any = {"https://acme.example/org": "acme", "scope": "openid treadle:resume", "tenant": "other"}
        found = await caller(tokens, issuer.token(**said))

    assert found is not None
    assert (found.tenant, found.granted) == ("acme", {Permission.RESUME})
    assert found.permissions == ("openid", "treadle:resume")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
async def test_every_kind_of_public_key_verifies(issuer: TestIssuer, tokens: Tokens, algorithm: str) -> None:
    issuer.publishes("two", algorithm)

    assert await caller(tokens, issuer.token("two", algorithm))


async def test_a_token_may_leave_out_the_name_of_an_only_key(issuer: TestIssuer) -> None:
    issuer.publishes("two", "ES256")
    async with accepting(issuer) as tokens:
        assert await caller(tokens, issuer.token(None, "ES256"))

    issuer.publishes("three", "ES256", number=1)
    async with accepting(issuer) as tokens:
        with pytest.raises(Unauthorized, match="does not name"):
            await caller(tokens, issuer.token(None, "ES256"))


async def test_keys_may_be_said_to_lie_elsewhere_and_the_issuer_may_have_no_name(issuer: TestIssuer) -> None:
    async with accepting(issuer, ISSUER="", JWKS_URL=issuer.url + JWKS) as tokens:
        assert await caller(tokens, issuer.token(iss="whoever"))
    async with accepting(issuer, ISSUER="https://other", JWKS_URL=issuer.url + JWKS) as tokens:
        assert await caller(tokens, issuer.token(iss="https://other"))
        with pytest.raises(Unauthorized, match="Invalid issuer"):
            await caller(tokens, issuer.token())


async def test_one_of_several_audiences_is_enough(issuer: TestIssuer) -> None:
    async with accepting(issuer, AUDIENCE=f"other {AUDIENCE}") as tokens:
        assert await caller(tokens, issuer.token(aud=["third", AUDIENCE]))


async def test_clocks_may_be_apart_by_the_leeway_and_no_more(issuer: TestIssuer, tokens: Tokens) -> None:
    now = time.time()
    assert await caller(tokens, issuer.token(exp=now - 20, iat=now - 600))
    assert await caller(tokens, issuer.token(iat=now + 20, nbf=now + 20))

    wrong: list[tuple[dict[str, Any], str]] = [
        ({"exp": now - 31}, "expired 3. s ago"),
        ({"nbf": now + 40}, "by `nbf` it begins in"),
        ({"iat": now + 40}, "by `iat` it begins in"),
    ]
    for times, why in wrong:
        with pytest.raises(Unauthorized, match=why):
            await caller(tokens, issuer.token(**times))


async def test_a_verified_token_is_remembered_until_it_ends_and_not_longer(issuer: TestIssuer) -> None:
    keys = KeySet(Issuer(issuer.url, None).keys, Times())
    now = time.time()
    tokens = Tokens(rules(ISSUER=issuer.url), keys, clock=lambda: now)
    tokens.start()
    text = issuer.token(exp=now + 60)
    first = await caller(tokens, text)
    assert first is not None
    assert await caller(tokens, text) is first

    now += 60
    second = await caller(tokens, text)  # within the leeway, so it is verified again
    assert second == first
    assert second is not first
    now += 30
    with pytest.raises(Unauthorized, match="expired 30 s ago"):
        await caller(tokens, text)
    await tokens.stop()
