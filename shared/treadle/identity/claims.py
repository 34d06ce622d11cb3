"""What the claims of a token say of whoever holds it. Its signature is good by then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from treadle.errors import Unauthorized
from treadle.identity.caller import DEFAULT_TENANT, Caller, Permission, checked_tenant
from treadle.identity.token_rules import TokenRules

MAX_IDENTITY_CHARACTERS = 256
# In seconds since 1970; some three thousand years.
LAST_MOMENT = 1e11
# A permission may be written so where other services' stand beside it.
PREFIX = "treadle:"
# What concerns the token and not its holder, and what the server says of a user itself.
NOT_PASSED_ON = frozenset(
    {"exp", "iat", "nbf", "jti", "aud", "sub"}
    | {"identity", "display_name", "is_authenticated", "permissions", "tenant"}
)

Claims = Mapping[str, Any]


def refusal(problem: str) -> Unauthorized:
    """The error of a token that cannot be accepted; it never holds the token."""
    return Unauthorized(f"The bearer token cannot be accepted: {problem}. See docs/auth.md, Tokens.")


def check_times(claims: Claims, now: float, leeway_secs: float) -> float:
    """Returns when the token ends, in seconds since 1970.

    Raises:
        Unauthorized: it has ended, has not begun, or does not say when it ends.
    """
    ends = _moment(claims, "exp")
    if ends is None:
        raise refusal("it has no `exp`, so it would never end")
    if now >= ends + leeway_secs:
        raise refusal(f"it expired {now - ends:.0f} s ago; get a new one")
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and begins > now + leeway_secs:
            raise refusal(
                f"by `{name}` it begins in {begins - now:.0f} s; set the clocks of the issuer and of the server"
            )
    return ends


def caller_of(claims: Claims, rules: TokenRules) -> Caller:
    """Who holds a token.

    Raises:
        Unauthorized: the user, the tenant or the permissions cannot be used.
    """
    said = _said_permissions(claims, rules.permissions_claim)
    granted = rules.default if said is None else _granted(said)
    return Caller(
        identity=_identity(claims),
        tenant=_tenant(claims, rules.tenant_claim),
        granted=frozenset(granted),
        permissions=tuple(granted) if said is None else said,
        more={name: value for name, value in claims.items() if name not in NOT_PASSED_ON},
    )


def _moment(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # Compared with bounds, for infinity and integers of a thousand digits are JSON too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LAST_MOMENT:
        raise refusal(f"its `{name}` is no number of seconds")
    return value


def _identity(claims: Claims) -> str:
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 1 <= len(sub) <= MAX_IDENTITY_CHARACTERS or not sub.isprintable():
        raise refusal(f"its `sub`, the user, must have 1 to {MAX_IDENTITY_CHARACTERS} printable characters")
    return sub


def _tenant(claims: Claims, name: str) -> str:
    if name not in claims:
        return DEFAULT_TENANT
    if not isinstance(tenant := claims[name], str):
        raise refusal(f"its `{name}`, the tenant, is no text")
    return checked_tenant(tenant)


def _said_permissions(claims: Claims, name: str) -> tuple[str, ...] | None:
    """The permissions in a token, in the issuer's words; None: it says nothing of them."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, str):
        return tuple(value.split())
    words = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(word, str) for word in words):
        raise refusal(f"its `{name}` is neither a list of texts nor a text with spaces")
    return tuple(cast("list[str]", words))


def _granted(said: tuple[str, ...]) -> list[Permission]:
    names = {word.removeprefix(PREFIX) for word in said}
    return [permission for permission in Permission if permission in names]
