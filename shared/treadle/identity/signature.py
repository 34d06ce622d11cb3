"""The signature of a token: RFC 7515 with HS256. Imported where there is a key only, for PyJWT brings all of cryptography along."""

from __future__ import annotations

from collections.abc import Sequence

import jwt

# The only one: a token that names another, `none` among them, is refused unread.
ALGORITHM = "HS256"

_signer = jwt.PyJWS(algorithms=[ALGORITHM])


class BadSignature(ValueError):
    """No key has signed the token; the message says why."""


def is_usable(key: bytes) -> bool:
    """Whether it is a secret, and not a key of another kind, which may be public."""
    try:
        jwt.get_algorithm_by_name(ALGORITHM).prepare_key(key)
    except jwt.InvalidKeyError:
        return False
    return True


def signed(payload: bytes, key: bytes) -> str:
    """A token that holds a payload."""
    return _signer.encode(payload, key, algorithm=ALGORITHM)


def payload_of(token: str, keys: Sequence[bytes]) -> bytes:
    """What a token holds that one of the keys has signed.

    Raises:
        BadSignature: none of them has.
    """
    for key in keys:
        try:
            return _signer.decode(token, key, algorithms=[ALGORITHM])
        except jwt.InvalidSignatureError:
            continue
        # PyJWT reads the token's own header before its signature, and passes on what the JSON parser raises.
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise BadSignature(
                f"it is no token that {ALGORITHM} has signed ({error or type(error).__name__})"
            ) from error
    raise BadSignature("it was signed with another key")
