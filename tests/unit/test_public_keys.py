"""The keys that an issuer publishes: which of them verify tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.issuer import TestIssuer, jwk, open_issuer, private_key
from tests.tokens import accepting, caller
from treadle.errors import Unauthorized
from treadle.identity.asymmetric import public_keys
from treadle.identity.tokens import Tokens


@pytest.fixture
async def issuer() -> AsyncGenerator[TestIssuer]:
    async with open_issuer() as issuer:
        yield issuer


@pytest.fixture
async def tokens(issuer: TestIssuer) -> AsyncGenerator[Tokens]:
    async with accepting(issuer) as tokens:
        yield tokens


def test_keys_that_cannot_verify_are_left_out_and_spoil_no_other() -> None:
    good = jwk(private_key("RS256"), "RS256", kid="good")
    others: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"},
        {**good, "kid": "for encryption", "use": "enc"},
        {**good, "kid": "of HS256", "alg": "HS256"},
        {**good, "kid": "private", "d": "AQAB"},
        {"kty": "RSA", "kid": "broken", "n": 1, "e": []},
        {"kty": "EC", "crv": "P-256", "kid": "off the curve", "x": "AQ", "y": "AQ"},
        {"kty": []},
        {"kty": "EC", "crv": {}},
        {**good, "kid": 7},
        "nonsense",
    ]
    found = public_keys(json.dumps({"keys": [*others, good]}).encode())

    assert [key.kid for key in found] == ["good"]


FIELDS = st.sampled_from(["kty", "crv", "kid", "alg", "use", "n", "e", "x", "y", "d", "key_ops"])
SAID: list[Any] = [
    "RSA",
    "EC",
    "OKP",
    "P-256",
    "Ed25519",
    "RS256",
    "AQAB",
    "sig",
    "",
    "\u00e9",
    None,
    7,
    [],
    {},
]


@given(keys=st.lists(st.dictionaries(FIELDS, st.sampled_from(SAID)) | st.sampled_from(SAID), max_size=3))
@settings(deadline=None)
def test_whatever_is_among_the_keys_a_good_one_is_found(keys: list[Any]) -> None:
    """Invariant: nothing that an issuer publishes ends the task that fetches its keys."""
    good = jwk(private_key("RS256"), "RS256", kid="good")
    found = public_keys(json.dumps({"keys": [*keys, good]}).encode())

    assert found[-1].kid == "good"


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_key_set_is_said_to_be_none(document: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        public_keys(document)


async def test_a_short_key_of_rsa_verifies_nothing(issuer: TestIssuer, tokens: Tokens) -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issuer.keys.append(jwk(small, "RS256", kid="small"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(issuer.claims(), small, algorithm="RS256", headers={"kid": "small"})

    with pytest.raises(Unauthorized, match="1024"):
        await caller(tokens, token)
