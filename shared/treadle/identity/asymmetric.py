"""Signatures that a public key verifies: RFC 7515 and RFC 7517. Imported where tokens are accepted only, as it takes 8 MiB."""

from __future__ import annotations

import logging
from base64 import urlsafe_b64decode
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, cast

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from treadle import json
from treadle.identity.claims import refusal

log = logging.getLogger(__name__)

# Which algorithms go with a key, by its type and curve. A key of any other kind verifies nothing: `oct` above all, which signs too.
FITTING: dict[tuple[object, object], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
MAX_HEADER_CHARACTERS = 2048
# Of claims only what is the same for all tokens; the rest is in treadle.identity.claims.
_tokens = jwt.PyJWT(
    {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "enforce_minimum_key_length": True}
)


class PublicKey(NamedTuple):
    """A key of the issuer, and the algorithms that it may be used with."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


class Header(msgspec.Struct, frozen=True):
    """What a token says of its signature; nothing vouches for it."""

    alg: str
    kid: str | None = None


_header = msgspec.json.Decoder(Header)


def public_keys(document: bytes) -> list[PublicKey]:
    """The usable keys in a JSON Web Key Set; others are left out, and do not spoil it.

    Raises:
        ValueError: it is none.
    """
    try:
        said = json.decode(document)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    keys = cast("dict[str, Any]", said).get("keys") if isinstance(said, dict) else None
    if not isinstance(keys, list):
        raise ValueError("it has no list `keys`")
    return [key for each in cast("list[Any]", keys) if (key := _public_key(each)) is not None]


def header_of(token: str) -> Header:
    """Read before anything else, and nothing else of the token: most that is wrong with one is seen here, for little.

    Raises:
        Unauthorized: it is no signed token.
    """
    segment, _, _ = token.partition(".")
    try:
        return _header.decode(urlsafe_b64decode(segment[:MAX_HEADER_CHARACTERS] + "=="))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise refusal(f"it is no signed JSON Web Token: {_brief(error)}") from error


def claims_of(
    token: str, key: PublicKey, algorithms: Collection[str], audiences: Sequence[str], issuer: str | None
) -> dict[str, Any]:
    """What a token says that a key has signed, for this audience, by this issuer. When it ends is not looked at.

    Args:
        algorithms: those that are allowed.
        issuer: None: any.

    Raises:
        Unauthorized: it is not so; the message says what is wrong.
    """
    try:
        return _tokens.decode(
            token,
            key.key,
            algorithms=[each for each in algorithms if each in key.algorithms],
            audience=audiences,
            issuer=issuer,
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise refusal(_brief(error)) from error


def _public_key(said: Any) -> PublicKey | None:
    if not isinstance(said, dict):
        return None
    jwk = cast("dict[str, Any]", said)
    kid, kind = jwk.get("kid"), (jwk.get("kty"), None if jwk.get("kty") == "RSA" else jwk.get("crv"))
    fitting = next((algorithms for known, algorithms in FITTING.items() if known == kind), ())
    algorithms = [each for each in fitting if jwk.get("alg") in (None, each)]
    if not algorithms or jwk.get("use", "sig") != "sig" or not isinstance(kid, str | None):
        return None
    if "d" in jwk:
        log.warning("the issuer publishes a private key (kid %s); it is not used: it has to be replaced", kid)
        return None
    try:
        return PublicKey(kid, frozenset(algorithms), jwt.PyJWK(jwk, algorithms[0]).key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        log.warning("a key of the issuer cannot be used (kid %s): %s", kid, _brief(error))
        return None


def _brief(error: Exception) -> str:
    return f"{error or type(error).__name__}".rstrip(".")[:200]
