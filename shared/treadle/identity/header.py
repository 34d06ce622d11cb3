"""The header `Treadle-Identity`: a JSON Web Token, signed with HS256, that says who sends one message.

It names the subject, the body and the message id of that message, so that whoever sees it can use it for no other one:
`get` and `cancel` have equal bodies, and a body that is published under another id would be another run.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from types import ModuleType
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta, Struct

from treadle.errors import ConfigError, Unauthorized
from treadle.messaging.requests import MESSAGE_ID, name_of
from treadle.settings import Settings

HEADER = "Treadle-Identity"
AUDIENCE = "treadle"
# RFC 7518, 3.2: a key for HS256 has at least the length of its hash.
MIN_KEY_BYTES = 32
MAX_HEADER_BYTES = 4096
MAX_LIFETIME_SECS = 3600.0
LIFETIME_SECS = 60.0
# How far the clocks of clients, of NATS and of this machine may be apart.
LEEWAY_SECS = 30.0

Name = Annotated[str, Meta(min_length=1, max_length=256)]
# Seconds since 1970; bounded to what a moment can be.
Moment = Annotated[float, Meta(ge=0, le=1e11)]


class Identity(Struct, frozen=True, omit_defaults=True):
    """Who asks."""

    user: str
    tenant: str | None = None


class _Claims(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says. `body`: SHA-256 of the message's body, base64url; `jti`: its Nats-Msg-Id, if it has one."""

    sub: Name
    tenant: Name | None = None
    aud: Literal["treadle"]
    iat: Moment
    exp: Moment
    subject: str
    body: str
    jti: str | None = None


_decoder = msgspec.json.Decoder(_Claims)


def sign(
    secret: str,
    *,
    user: str,
    tenant: str | None = None,
    subject: str,
    body: bytes,
    message_id: str | None = None,
    lifetime_secs: float = LIFETIME_SECS,
) -> str:
    """The value of `Treadle-Identity` for one message.

    Args:
        secret: TREADLE_IDENTITY_SECRET, or the key of this sender; of several the first signs.
        subject: where the message is published, as the service sees it.
        message_id: its `Nats-Msg-Id`, if it gets one.
        lifetime_secs: how long it may take NATS to get the message; an hour at the most.

    Raises:
        ConfigError: the key is too short, or missing.
    """
    keys = signing_keys(secret)
    if not keys:
        raise ConfigError(
            "There is no key to sign an identity with: give the one in TREADLE_IDENTITY_SECRET."
        )
    now = time.time()
    claims = _Claims(
        sub=user,
        tenant=tenant,
        aud=AUDIENCE,
        iat=now,
        exp=now + lifetime_secs,
        subject=subject,
        body=_digest(body),
        jti=message_id,
    )
    return _signature().signed(msgspec.json.encode(claims), keys[0])


def shown(token: str) -> str:
    """A token as people may see it: what it says, without the signature that makes it good."""
    said, dot, _ = token.rpartition(".")
    return f"{said}{dot}***"


def signing_keys(text: str) -> list[bytes]:
    """The keys that TREADLE_IDENTITY_SECRET holds, separated by spaces: several while one takes the other's place.

    Raises:
        ConfigError: one cannot be used; the message says which by its place, never by its text.
    """
    keys = [part.encode() for part in text.split()]
    for place, key in enumerate(keys, start=1):
        _check_key(place, key)
    return keys


def _check_key(place: int, key: bytes) -> None:
    advice = "Make one with `openssl rand -base64 48`. See docs/nats.md."
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"TREADLE_IDENTITY_SECRET cannot be used: key {place} in it has {len(key)} bytes, and {MIN_KEY_BYTES} are "
            f"the least. {advice}"
        )
    if not _signature().is_usable(key):
        raise ConfigError(
            f"TREADLE_IDENTITY_SECRET cannot be used: key {place} in it is a key of another kind. {advice}"
        )


class IdentityVerifier:
    """Finds out who sent a message.

    Args:
        keys: those that may have signed; none: no header is accepted.
        required: whether a message without the header is refused.
        clock: seconds since 1970.
    """

    def __init__(
        self, keys: Sequence[bytes], *, required: bool, clock: Callable[[], float] = time.time
    ) -> None:
        if required and not keys:
            raise ConfigError(
                "TREADLE_IDENTITY_REQUIRED is `yes`, but TREADLE_IDENTITY_SECRET holds no key to verify "
                "identities with: set it, or set TREADLE_IDENTITY_REQUIRED to `no`. See docs/nats.md."
            )
        self._keys = keys
        self._required = required
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings ask for.

        Raises:
            ConfigError: a key cannot be used, or is missing.
        """
        keys = signing_keys(settings.treadle_identity_secret)
        return cls(keys, required=settings.treadle_identity_required == "yes")

    def verify(
        self, headers: Mapping[str, str] | None, subject: str, body: bytes, stored_at: datetime | None = None
    ) -> Identity | None:
        """Who sent this message; None when it does not say, and need not.

        Args:
            stored_at: when NATS stored it, if it did; the header must have been good then, and not now.

        Raises:
            Unauthorized: the header is missing, or does not prove what it says; the message says why.
        """
        given = headers or {}
        token = _only(given, HEADER)
        if token is None:
            self._refuse_nameless()
            return None
        claims = self._claims(token)
        _check_lifetime(claims, self._clock() if stored_at is None else stored_at.timestamp())
        _check_message(claims, subject, body, given.get(MESSAGE_ID))
        return Identity(claims.sub, claims.tenant)

    def _refuse_nameless(self) -> None:
        if self._required:
            raise Unauthorized(
                f"This server takes no request without the header `{HEADER}`. Sign it with "
                "`treadle.identity.sign`; docs/nats.md says how."
            )

    def _claims(self, token: str) -> _Claims:
        """What a token says that one of the keys has signed."""
        if not self._keys:
            raise Unauthorized(
                f"This server has no key to verify `{HEADER}` with: set TREADLE_IDENTITY_SECRET on it, or leave "
                "the header out."
            )
        if len(token) > MAX_HEADER_BYTES:
            raise _refusal(f"it has {len(token)} bytes, and {MAX_HEADER_BYTES} are the most")
        signature = _signature()
        try:
            return _read(signature.payload_of(token, self._keys))
        except signature.BadSignature as error:
            raise _refusal(_brief(error)) from error


def _read(payload: bytes) -> _Claims:
    try:
        claims = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _refusal(f"its claims cannot be used: {_brief(error)}") from error
    for name in filter(None, (claims.sub, claims.tenant)):
        if not name.isprintable():
            raise _refusal("`sub` and `tenant` may hold printable characters only")
    return claims


def _check_lifetime(claims: _Claims, moment: float) -> None:
    if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_SECS:
        raise _refusal(f"`exp` must be after `iat`, by {MAX_LIFETIME_SECS:g} s at the most")
    if moment < claims.iat - LEEWAY_SECS:
        raise _refusal(
            f"it was signed {claims.iat - moment:.0f} s in the future; set the clock of whoever signs it"
        )
    if moment >= claims.exp + LEEWAY_SECS:
        raise _refusal(
            f"it had expired {moment - claims.exp:.0f} s before NATS got the message; sign each message anew"
        )


def _check_message(claims: _Claims, subject: str, body: bytes, message_id: str | None) -> None:
    """The token was made for this message, and no other one."""
    if claims.subject != subject:
        raise _refusal(f"it was signed for another subject than {subject}")
    if claims.body != _digest(body):
        raise _refusal("it was signed for another body")
    if not _is_named(message_id, claims.jti):
        raise _refusal(f"it was signed for another `{MESSAGE_ID}` (its claim `jti`)")


def _is_named(message_id: str | None, signed: str | None) -> bool:
    """A request that is published again from a dead letter has another id, and the name that it had; or had none."""
    if message_id is None:
        return signed is None
    name = name_of(message_id)
    return signed == name or (signed is None and name != message_id)


def _only(headers: Mapping[str, str], wanted: str) -> str | None:
    """A header's value, however its name is spelled: one that is overlooked would make a request nameless."""
    found = [value for name, value in headers.items() if name.lower() == wanted.lower()]
    if len(found) > 1:
        raise _refusal("it comes more than once")
    return found[0] if found else None


def _digest(body: bytes) -> str:
    return urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode()


def _refusal(problem: str) -> Unauthorized:
    return Unauthorized(f"The header `{HEADER}` cannot be accepted: {problem}. See docs/nats.md, Who asks.")


def _brief(error: Exception) -> str:
    return f"{error or type(error).__name__}".rstrip(".")[:200]


def _signature() -> ModuleType:
    """Loaded for a key only: without any, nobody needs PyJWT and the cryptography it brings along, 8 MiB of them."""
    from treadle.identity import signature  # noqa: PLC0415

    return signature
