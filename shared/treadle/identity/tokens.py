"""Bearer tokens: JSON Web Tokens (RFC 7519) that an issuer of the user's own has signed, such as an OpenID Connect provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from treadle.identity.bearer import token
from treadle.identity.caller import Caller
from treadle.identity.claims import caller_of, check_times, refusal
from treadle.identity.remembered import Remembered
from treadle.identity.token_rules import TokenRules
from treadle.settings import Settings

if TYPE_CHECKING:
    from treadle.identity.key_set import KeySet, Times

MAX_TOKEN_CHARACTERS = 16_384
MOST_VERIFIED = 4096


class Tokens:
    """Knows who sends a request by the bearer token in it, between `start` and `stop`. An `Authenticator`.

    A token that was verified is not verified again until it ends, or the keys are fetched again.

    Args:
        keys: of the issuer.
        clock: seconds since 1970.
    """

    def __init__(self, rules: TokenRules, keys: KeySet, *, clock: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._verified = Remembered[Caller](MOST_VERIFIED, clock)
        self._verified_since = 0

    @classmethod
    def of(cls, settings: Settings, times: Times | None = None) -> Self | None:
        """What the settings ask for; None: tokens are not accepted.

        Raises:
            ConfigError: a setting is missing or cannot be used.
        """
        if (rules := TokenRules.of(settings)) is None:
            return None
        from treadle.identity.issuer import Issuer  # noqa: PLC0415 - see _asymmetric
        from treadle.identity.key_set import KeySet, Times  # noqa: PLC0415

        return cls(rules, KeySet(Issuer(rules.issuer, rules.jwks_url).keys, times or Times()))

    def start(self) -> None:
        """Begin to fetch the keys, and to keep them fresh; does not wait for them."""
        self._keys.start()

    async def stop(self) -> None:
        await self._keys.stop()

    async def caller(self, headers: Mapping[str, str]) -> Caller | None:
        """Who holds the token in `authorization`; None: there is none.

        Raises:
            Unauthorized: it is no good; the message says what is wrong, and does not show it.
            Unavailable: there are no keys of the issuer, or none of this name, and it cannot be reached.
        """
        if (text := token(headers)) is None:
            return None
        if len(text) > MAX_TOKEN_CHARACTERS or not text.isascii():
            raise refusal(f"it must have {MAX_TOKEN_CHARACTERS} characters at the most, of ASCII")
        self._forget_if_keys_came()
        digest = sha256(text.encode()).digest()
        if (caller := self._verified.get(digest)) is not None:
            return caller
        claims = await self._claims(text)
        self._forget_if_keys_came()
        now = self._clock()
        ends = check_times(claims, now, self._rules.leeway_secs)
        caller = caller_of(claims, self._rules)
        self._verified.keep(digest, caller, ends - now)
        return caller

    def _forget_if_keys_came(self) -> None:
        """The key that verified a token may not be among them."""
        if self._verified_since != self._keys.fetches:
            self._verified.clear()
            self._verified_since = self._keys.fetches

    async def _claims(self, text: str) -> dict[str, Any]:
        rules, asymmetric = self._rules, _asymmetric()
        header = asymmetric.header_of(text)
        if header.alg not in rules.algorithms:
            raise refusal(
                f"its algorithm is none of {', '.join(sorted(rules.algorithms))} (TREADLE_JWT_ALGORITHMS)"
            )
        keys = await self._keys.fitting(header.alg, header.kid)
        if len(keys) != 1:
            raise refusal(_without_key(header.kid, keys))
        return asymmetric.claims_of(text, keys[0], rules.algorithms, rules.audiences, rules.issuer)


def _without_key(kid: str | None, keys: list[Any]) -> str:
    # Several without a name: trying them all would cost a verification each, for a token that anybody can write.
    if keys:
        return "the issuer has several keys, and it does not name (`kid`) exactly one of them"
    return (
        "it names a key (`kid`) that the issuer does not have"
        if kid
        else "the issuer has no key for its algorithm"
    )


def _asymmetric() -> ModuleType:
    """Loaded for tokens only: without them, nobody needs PyJWT and the cryptography that it brings along, 8 MiB of them."""
    from treadle.identity import asymmetric  # noqa: PLC0415

    return asymmetric
