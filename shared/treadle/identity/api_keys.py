"""API keys: made by `treadle keys create`, sent with each request, known here by their SHA-256 alone."""

from __future__ import annotations

import re
import secrets
import string
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple, Self

from treadle.coalescing import Coalescer
from treadle.db.api_keys import ApiKeyRows, Asked, GoodKey
from treadle.db.pool import Pool
from treadle.errors import Unauthorized
from treadle.identity.bearer import API_KEY_PREFIX, api_key
from treadle.identity.caller import Caller, Permission
from treadle.identity.remembered import Remembered
from treadle.settings import Settings

ID_CHARACTERS = 12
ID_ALPHABET = string.digits + string.ascii_lowercase
# 43 of 62 letters and digits hold 256 bits; without `-` and `_`, so that a double click takes all of it.
SECRET_CHARACTERS = 43
SECRET_ALPHABET = string.digits + string.ascii_letters
# A form that scanners for leaked secrets can look for.
FORM = re.compile(
    rf"{API_KEY_PREFIX}([0-9a-z]{{{ID_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}", re.ASCII
)

# A key that is revoked is good for so long still, in processes that have seen it just before.
FRESH_SECS = 5.0
# A key that is refused once is refused for ever, so nothing but room speaks against a longer time.
REFUSED_SECS = 60.0
MOST_KNOWN = 10_000
MOST_REFUSED = 10_000
# Keys in one statement.
MOST_TOGETHER = 200
# While one look-up takes this long, another may begin.
LONG_SECS = 1.0

REFUSAL = (
    "The API key is unknown, expired or revoked. `treadle keys list` shows which there are, `treadle keys create` makes "
    "one. See docs/auth.md."
)


LookUp = Callable[[Sequence[Asked]], Awaitable[Mapping[str, GoodKey]]]


class IssuedKey(NamedTuple):
    """A key as its holder gets it, once, and what is kept of it."""

    text: str
    id: str
    hash: bytes


def issue() -> IssuedKey:
    """A new key: `treadle_<id>_<secret>`, with a secret of 256 random bits."""
    key_id, secret = _random(ID_ALPHABET, ID_CHARACTERS), _random(SECRET_ALPHABET, SECRET_CHARACTERS)
    text = f"{API_KEY_PREFIX}{key_id}_{secret}"
    return IssuedKey(text, key_id, _digest(text))


class ApiKeys:
    """Knows who sends a request by the API key in it. An `Authenticator`.

    What Postgres said of a key is believed for FRESH_SECS. However many keys come that nobody has seen, they share one statement
    at a time, and are remembered up to a number: random keys fill neither Postgres nor memory.

    Args:
        look_up: finds those that are good now, by id.
        clock: seconds since any moment.
    """

    def __init__(self, look_up: LookUp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._good = look_up
        self._known = Remembered[Caller](MOST_KNOWN, clock)
        self._refused = Remembered[bool](MOST_REFUSED, clock)
        self._look_up = Coalescer("api-keys", self._found, most=MOST_TOGETHER, long_secs=LONG_SECS)

    @classmethod
    def of(cls, settings: Settings, pool: Pool) -> Self | None:
        """None: TREADLE_API_KEYS is off."""
        return cls(ApiKeyRows(pool).look_up) if settings.treadle_api_keys == "on" else None

    async def caller(self, headers: Mapping[str, str]) -> Caller | None:
        """Who holds the key in `x-api-key`, or else in `authorization`; None: there is none.

        Raises:
            Unauthorized: it is no good; never says why, nor shows it.
            Unavailable: Postgres cannot be reached.
        """
        if (text := api_key(headers)) is None:
            return None
        if (form := FORM.fullmatch(text)) is None:
            raise Unauthorized(REFUSAL)
        asked = Asked(form[1], _digest(text))
        caller = self._known.get(asked.hash)
        if caller is None and not self._refused.get(asked.hash):
            caller = self._judged(asked, await self._look_up(asked))
        if caller is None:
            raise Unauthorized(REFUSAL)
        return caller

    async def _found(self, asked: Sequence[Asked]) -> list[GoodKey | None]:
        good = await self._good(asked)
        return [good.get(each.id) for each in asked]

    def _judged(self, asked: Asked, key: GoodKey | None) -> Caller | None:
        if key is None or not compare_digest(key.hash, asked.hash):
            self._refused.keep(asked.hash, True, REFUSED_SECS)
            return None
        caller = _caller(key)
        fresh_secs = FRESH_SECS if key.secs_left is None else min(FRESH_SECS, key.secs_left)
        self._known.keep(asked.hash, caller, fresh_secs)
        return caller


def _caller(key: GoodKey) -> Caller:
    # By the names that this version knows: a newer one may have granted more.
    granted = [permission for permission in Permission if permission in key.permissions]
    return Caller(
        identity=key.identity,
        tenant=key.tenant,
        granted=frozenset(granted),
        permissions=tuple(key.permissions),
        more={"api_key": {"id": key.id, "name": key.name}},
    )


def _random(alphabet: str, count: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(count))


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
