"""Bearer tokens: what does not prove who asks."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.issuer import TestIssuer, jwk, open_issuer, private_key
from tests.tokens import accepting, caller, rules, segment
from treadle.errors import Unauthorized
from treadle.identity.asymmetric import PublicKey, public_keys
from treadle.identity.claims import caller_of, check_times
from treadle.identity.key_set import KeySet, Times
from treadle.identity.tokens import MAX_TOKEN_CHARACTERS, Tokens


@pytest.fixture
async def issuer() -> AsyncGenerator[TestIssuer]:
    async with open_issuer() as issuer:
        yield issuer


@pytest.fixture
async def tokens(issuer: TestIssuer) -> AsyncGenerator[Tokens]:
    async with accepting(issuer) as tokens:
        yield tokens


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "another service"}, "Audience doesn't match"),
        ({"aud": None}, 'missing the "aud" claim'),
        ({"iss": "https://another"}, "Invalid issuer"),
        ({"iss": None}, 'missing the "iss" claim'),
        ({"exp": None}, "it has no `exp`"),
        ({"exp": "soon"}, "`exp` is no number"),
        ({"exp": 10**400}, "`exp` is no number"),
        ({"sub": None}, "its `sub`, the user"),
        ({"sub": ""}, "its `sub`, the user"),
        ({"sub": "a\nb"}, "its `sub`, the user"),
        ({"sub": "a" * 257}, "its `sub`, the user"),
        ({"tenant": ""}, "The tenant '' cannot be used"),
        ({"tenant": 7}, "its `tenant`, the tenant, is no text"),
        ({"permissions": 7}, "neither a list of texts"),
        ({"permissions": [7]}, "neither a list of texts"),
    ],
)
async def test_a_claim_that_is_missing_or_wrong_is_named(
    issuer: TestIssuer, tokens: Tokens, changes: dict[str, Any], why: str
) -> None:
    token = issuer.token(**changes)
    with pytest.raises(Unauthorized, match=why) as refused:
        await caller(tokens, token)

    assert token not in str(refused.value)


async def test_an_unsigned_token_is_refused(issuer: TestIssuer, tokens: Tokens) -> None:
    for algorithm in ("none", "None", "NONE"):
        token = f"{segment({'alg': algorithm, 'kid': 'one'})}.{segment(issuer.claims())}."
        with pytest.raises(Unauthorized, match="its algorithm is none of"):
            await caller(tokens, token)


async def test_the_public_key_is_no_secret_to_sign_with(issuer: TestIssuer, tokens: Tokens) -> None:
    """RFC 8725, 2.1: everybody has the public key, and HS256 signs with whatever it is given."""
    public = private_key("RS256").public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(issuer.keys[0]).encode(),
    ):
        signer = jwt.PyJWS(algorithms=["HS256"])
        signing = f"{segment({'alg': 'HS256', 'kid': 'one'})}.{segment(issuer.claims())}".encode()
        signature = signer.get_algorithm_by_name("HS256").sign(signing, secret)
        token = f"{signing.decode()}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        with pytest.raises(Unauthorized, match="its algorithm is none of"):
            await caller(tokens, token)


async def test_a_token_of_another_key_or_another_body_is_refused(issuer: TestIssuer, tokens: Tokens) -> None:
    with pytest.raises(Unauthorized, match="Signature verification failed"):
        await caller(tokens, issuer.token(number=1))
    header, _, signature = issuer.token().split(".")
    with pytest.raises(Unauthorized, match="Signature verification failed"):
        await caller(tokens, f"{header}.{segment(issuer.claims(sub='eve'))}.{signature}")


async def test_a_key_is_used_only_with_the_algorithms_that_it_is_for(issuer: TestIssuer) -> None:
    issuer.publishes("two", "RS256", alg="RS256")
    async with accepting(issuer) as tokens:
        with pytest.raises(Unauthorized, match="names a key"):
            await caller(tokens, issuer.token("two", "PS256"))
    async with accepting(issuer, ALGORITHMS="ES256") as tokens:
        with pytest.raises(Unauthorized, match="its algorithm is none of ES256"):
            await caller(tokens, issuer.token())


async def test_what_is_no_token_of_an_issuer_is_left_to_others(tokens: Tokens) -> None:
    for headers in (
        {},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer treadle_0_1"},
        {"x-api-key": "a.b.c"},
    ):
        assert await tokens.caller(headers) is None


KEYS = public_keys(json.dumps({"keys": [jwk(private_key("RS256"), "RS256", kid="one")]}).encode())
ODD: list[Any] = ["RS256", "one", None, 1, [], {}]
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "crit", "b64", "typ"]),
    st.sampled_from(ODD),
)
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=".-_=azAZ09"),
    st.tuples(HEADERS.map(segment), st.text(alphabet=".azAZ09")).map(".".join),
    st.just("a" * (MAX_TOKEN_CHARACTERS + 1)),
)


@given(text=TEXTS)
@settings(deadline=None)
async def test_any_header_gives_none_or_is_refused(text: str) -> None:
    async def fetch() -> list[PublicKey]:
        return KEYS

    tokens = Tokens(rules(), KeySet(fetch, Times()))
    tokens.start()
    try:
        with suppress(Unauthorized):
            assert await caller(tokens, text) is None
    finally:
        await tokens.stop()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    st.lists,
    max_leaves=5,
)


@given(
    claims=st.dictionaries(
        st.sampled_from(["sub", "exp", "nbf", "iat", "tenant", "permissions", "x"]), VALUES
    )
)
@settings(deadline=None)
def test_any_claims_give_a_caller_or_are_refused(claims: dict[str, Any]) -> None:
    try:
        check_times(claims, 1e9, 30)
        found = caller_of({"sub": "ada", **claims}, rules())
    except Unauthorized:
        return
    assert found.identity
    assert found.tenant
