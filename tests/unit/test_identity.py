"""The header `Treadle-Identity`: what proves who asks, and what does not."""

from __future__ import annotations

import hashlib
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph_sdk.auth.types import BaseUser

from treadle import settings
from treadle.errors import ConfigError, InvalidRequest, Unauthorized
from treadle.identity import (
    HEADER,
    Identity,
    IdentityVerifier,
    User,
    configurable,
    refuse_claimed_identity,
    sign,
    signing_keys,
    user_of,
)
from treadle.identity.caller import Caller
from treadle.identity.header import shown
from treadle.identity.renewal import renewed
from treadle.wire.runs import Config, NewRun

KEY = "k" * 32
OTHER = "another key, which is as long as it must be"
SUBJECT = "treadle.requests.billing"
BODY = b'{"assistant_id":"echo"}'
SERVERS = {"DATABASE_URI": "postgresql://h/d", "REDIS_URI": "redis://h", "NATS_URL": "nats://h"}
VERIFIER = IdentityVerifier(signing_keys(KEY), required=False)


def signed(**changes: Any) -> str:
    wanted: dict[str, Any] = {"user": "ada", "tenant": "acme", "subject": SUBJECT, "body": BODY, **changes}
    return sign(KEY, **wanted)


def verify(token: str, verifier: IdentityVerifier = VERIFIER, **message: Any) -> Identity | None:
    asked: dict[str, Any] = {"subject": SUBJECT, "body": BODY, **message}
    headers = asked.pop("headers", {})
    return verifier.verify({HEADER: token, **headers}, asked.pop("subject"), asked.pop("body"), **asked)


def token_of(payload: dict[str, Any], key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(payload, key, algorithm=algorithm)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, changed; None takes one away."""
    made = {**jwt.decode(signed(), KEY, algorithms=["HS256"], audience="treadle"), **changes}
    return {name: value for name, value in made.items() if value is not None}


def test_a_signed_header_says_who_asks() -> None:
    assert verify(signed()) == Identity("ada", "acme")
    assert verify(signed(tenant=None)) == Identity("ada", None)


def test_a_message_without_the_header_is_nobodys() -> None:
    assert VERIFIER.verify(None, SUBJECT, BODY) is None
    assert VERIFIER.verify({"traceparent": "00-0-0-00"}, SUBJECT, BODY) is None


def test_a_message_without_the_header_is_refused_where_it_is_required() -> None:
    verifier = IdentityVerifier(signing_keys(KEY), required=True)

    with pytest.raises(Unauthorized, match="takes no request without the header `Treadle-Identity`"):
        verifier.verify({}, SUBJECT, BODY)
    assert verify(signed(), verifier) == Identity("ada", "acme")


def test_a_header_that_nobody_can_verify_is_refused_and_not_ignored() -> None:
    with pytest.raises(Unauthorized, match="has no key to verify"):
        verify(signed(), IdentityVerifier([], required=False))


def test_the_name_of_the_header_is_found_however_it_is_spelled() -> None:
    assert VERIFIER.verify({HEADER.lower(): signed()}, SUBJECT, BODY) == Identity("ada", "acme")
    with pytest.raises(Unauthorized, match="comes more than once"):
        VERIFIER.verify({HEADER.lower(): signed(), HEADER: signed(user="eve")}, SUBJECT, BODY)


def test_several_keys_take_each_others_place() -> None:
    verifier = IdentityVerifier(signing_keys(f"{OTHER.replace(' ', '-')} {KEY}"), required=False)

    assert verify(signed(), verifier) == Identity("ada", "acme")
    assert verify(
        sign(OTHER.replace(" ", "-"), user="bob", subject=SUBJECT, body=BODY), verifier
    ) == Identity("bob")
    with pytest.raises(Unauthorized, match="signed with another key"):
        verify(token_of(claims(), "x" * 40), verifier)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"body": BODY + b" "}, "another body"),
        ({"subject": "treadle.api.runs.cancel"}, "another subject than treadle.api.runs.cancel"),
        ({"headers": {"Nats-Msg-Id": "7"}}, "another `Nats-Msg-Id`"),
    ],
)
def test_a_captured_header_is_good_for_no_other_message(message: dict[str, Any], problem: str) -> None:
    with pytest.raises(Unauthorized, match=problem):
        verify(signed(), **message)


def test_the_id_of_a_message_is_part_of_what_is_signed() -> None:
    token = signed(message_id="order-1")

    assert verify(token, headers={"Nats-Msg-Id": "order-1"}) == Identity("ada", "acme")
    for headers in ({"Nats-Msg-Id": "order-2"}, {}):
        with pytest.raises(Unauthorized, match="another `Nats-Msg-Id`"):
            verify(token, headers=headers)


def test_a_stored_message_is_judged_by_the_moment_at_which_it_was_stored() -> None:
    now = time.time()
    token = signed(lifetime_secs=60)
    late = IdentityVerifier(signing_keys(KEY), required=True, clock=lambda: now + 7200)

    with pytest.raises(Unauthorized, match=r"had expired 71[34]. s before"):
        verify(token, late)
    assert verify(token, late, stored_at=datetime.fromtimestamp(now + 1, UTC)) == Identity("ada", "acme")
    with pytest.raises(Unauthorized, match="had expired"):
        verify(token, late, stored_at=datetime.fromtimestamp(now + 100, UTC))


@pytest.mark.parametrize(("secs", "accepted"), [(-40, False), (-20, True), (80, True), (100, False)])
def test_clocks_may_be_half_a_minute_apart(secs: float, accepted: bool) -> None:
    verifier = IdentityVerifier(signing_keys(KEY), required=True, clock=lambda: time.time() + secs)
    token = signed(lifetime_secs=60)

    if accepted:
        assert verify(token, verifier)
    else:
        with pytest.raises(Unauthorized, match="in the future" if secs < 0 else "had expired"):
            verify(token, verifier)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sub": None}, "required field `sub`"),
        ({"sub": ""}, r"length >= 1 - at `\$.sub`"),
        ({"sub": "a" * 257}, r"length <= 256 - at `\$.sub`"),
        ({"sub": "ada\x00"}, "printable"),
        ({"tenant": "acme\nroot"}, "printable"),
        ({"tenant": 7}, r"got `int` - at `\$.tenant`"),
        ({"aud": None}, "required field `aud`"),
        ({"aud": "somebody"}, r"at `\$.aud`"),
        ({"iat": None}, "required field `iat`"),
        ({"exp": None}, "required field `exp`"),
        ({"exp": 1e300}, r"at `\$.exp`"),
        ({"exp": True}, r"at `\$.exp`"),
        ({"exp": 9e10}, "by 3600 s at the most"),
        ({"exp": 1.0}, "`exp` must be after `iat`"),
        ({"exp": float("nan")}, "cannot be used"),
        ({"body": None}, "required field `body`"),
        ({"subject": None}, "required field `subject`"),
    ],
)
def test_claims_that_cannot_be_used_are_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(Unauthorized, match=problem) as refused:
        verify(token_of(claims(**changes)))

    assert "See docs/nats.md" in str(refused.value)


def unsigned() -> str:
    return jwt.encode(claims(), None, algorithm="none")  # pyright: ignore[reportArgumentType]


def stripped() -> str:
    """The good claims under a header that says `none`, with the signature left away, or kept."""
    head, payload, signature = signed().split(".")
    none = urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    assert head != none
    return f"{none}.{payload}.{signature}"


def other_hash() -> str:
    return token_of(claims(), KEY * 2, "HS512")


def other_kind() -> str:
    """HS256's own bytes under a header that says RS256: the verifier must not pick its algorithm by it."""
    _, payload, signature = signed().split(".")
    head = urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


def detached() -> str:
    head = urlsafe_b64encode(b'{"alg":"HS256","b64":false,"crit":["b64"]}').rstrip(b"=").decode()
    return f"{head}..{signed().rsplit('.', 1)[1]}"


def nested() -> str:
    head = urlsafe_b64encode(b"[" * 2900).decode()
    return f"{head}.e30.e30"


@pytest.mark.parametrize("forged", [unsigned, stripped, other_hash, other_kind, detached, nested])
def test_the_token_does_not_choose_how_it_is_verified(forged: Callable[[], str]) -> None:
    with pytest.raises(Unauthorized, match="no token that HS256 has signed"):
        verify(forged())


def test_a_token_that_is_too_long_is_not_read() -> None:
    with pytest.raises(Unauthorized, match="4096 are the most"):
        verify("a." * 3000)


@given(
    st.text()
    | st.from_regex(r"[\w-]{0,40}(\.[\w-]{0,40}){0,3}")
    | st.binary().map(lambda raw: raw.decode("latin-1"))
)
def test_whatever_the_header_holds_nothing_but_unauthorized_is_raised(token: str) -> None:
    with pytest.raises(Unauthorized):
        verify(token)


@given(st.floats(0, 1, exclude_max=True), st.characters(codec="ascii"))
def test_a_token_changed_in_one_place_is_refused(place: float, character: str) -> None:
    token = signed()
    at = int(place * len(token))
    changed = token[:at] + character + token[at + 1 :]

    try:
        verify(changed)
    except Unauthorized:
        return
    assert _decoded(changed) == _decoded(token)


def _decoded(token: str) -> list[bytes]:
    """What base64 makes of the parts: the last character of one may hold bits that nobody reads."""
    return [urlsafe_b64decode(part + "==") for part in token.split(".")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["sub", "tenant", "aud", "iat", "exp", "body", "subject", "jti"]), json_values)
def test_whatever_a_signed_claim_holds_nothing_but_unauthorized_is_raised(name: str, value: object) -> None:
    payload = msgspec.json.encode({**claims(), name: _sendable(value)})
    token = jwt.PyJWS().encode(payload, KEY, algorithm="HS256")

    try:
        found = verify(token)
    except Unauthorized:
        return
    assert isinstance(found, Identity)


def _sendable(value: object) -> object:
    try:
        msgspec.json.encode(value)
    except (UnicodeError, OverflowError):
        return None
    return value


@given(st.binary(max_size=200))
def test_whatever_is_signed_nothing_but_unauthorized_is_raised(payload: bytes) -> None:
    with pytest.raises(Unauthorized):
        verify(jwt.PyJWS().encode(payload, KEY, algorithm="HS256"))


def test_the_digest_of_the_body_is_what_the_documentation_says() -> None:
    digest = urlsafe_b64encode(hashlib.sha256(BODY).digest()).rstrip(b"=").decode()

    assert claims()["body"] == digest


@pytest.mark.parametrize("secret", ["short", f"{KEY} short-too", "ssh-ed25519 " + KEY])
def test_a_key_that_is_too_short_stops_the_start_and_is_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match="TREADLE_IDENTITY_SECRET cannot be used: key") as refused:
        signing_keys(secret)

    assert "short" not in str(refused.value)


def test_an_empty_setting_holds_no_key() -> None:
    assert signing_keys("  ") == []
    with pytest.raises(ConfigError, match="no key to sign"):
        sign("", user="ada", subject=SUBJECT, body=BODY)


def test_identities_cannot_be_required_without_a_key() -> None:
    given = settings.load({**SERVERS, "TREADLE_IDENTITY_REQUIRED": "yes"})

    with pytest.raises(ConfigError, match="holds no key to verify"):
        IdentityVerifier.of(given)


def test_settings_make_a_verifier() -> None:
    given = settings.load({**SERVERS, "TREADLE_IDENTITY_SECRET": KEY, "TREADLE_IDENTITY_REQUIRED": "yes"})

    assert verify(signed(), IdentityVerifier.of(given)) == Identity("ada", "acme")
    with pytest.raises(Unauthorized):
        IdentityVerifier.of(given).verify({}, SUBJECT, BODY)


def test_graphs_get_a_user_as_langgraph_wants_it() -> None:
    made = configurable(user_of(Caller(identity="ada", tenant="acme")))
    user = User(made["langgraph_auth_user"])

    assert isinstance(user, BaseUser)
    assert (user.identity, user["identity"], user.tenant) == ("ada", "ada", "acme")
    assert (user.display_name, user.is_authenticated, list(user.permissions)) == ("ada", True, [])
    assert made["langgraph_auth_user_id"] == "ada"


NAMED = {"langgraph_auth_user_id": "root"}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (NewRun(assistant_id="a", context=NAMED), "context"),
        (NewRun(assistant_id="a", metadata=NAMED), "metadata"),
        (NewRun(assistant_id="a", config=Config(configurable=NAMED)), "config.configurable"),
        (NewRun(assistant_id="a", config=Config(metadata=NAMED)), "config.metadata"),
        (NewRun(assistant_id="a", context={"LangGraph_Auth_User": {}}), "context"),
    ],
)
def test_a_body_may_not_say_who_asks(body: NewRun, place: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{place}\.\w+: who asks is not said in the body"):
        refuse_claimed_identity(body)


def test_any_other_key_of_a_body_is_its_own_affair() -> None:
    refuse_claimed_identity(NewRun(assistant_id="a", context={"user": "root"}, config=Config(tags=["x"])))


def test_an_identity_that_was_good_when_it_came_is_signed_anew() -> None:
    then = time.time() - 86_400
    token = token_of(claims(iat=then, exp=then + 60, jti="order-1"))
    headers = {HEADER.lower(): token, "Nats-Msg-Id": "order-1", "X-Order": "1"}

    def again(secret: str, after: float) -> dict[str, str]:
        published_at = datetime.fromtimestamp(then + after, UTC)
        return renewed(
            headers, secret, subject=SUBJECT, body=BODY, message_id="order-1", published_at=published_at
        )

    made = again(KEY, 1)

    assert made["X-Order"] == "1"
    assert HEADER.lower() not in made
    assert verify(made[HEADER], headers={"Nats-Msg-Id": "Treadle-Retry:17;order-1"}) == Identity(
        "ada", "acme"
    )
    with pytest.raises(Unauthorized, match="another `Nats-Msg-Id`"):
        verify(made[HEADER], headers={"Nats-Msg-Id": "Treadle-Retry:17;order-2"})
    for secret, after, why in (
        ("", 1, "set TREADLE_IDENTITY_SECRET"),
        ("x" * 40, 1, "signed with another key"),
        (KEY, 100, "had expired"),
    ):
        with pytest.raises(Unauthorized, match=why):
            again(secret, after)


def test_a_token_is_shown_without_what_makes_it_good() -> None:
    token = signed()
    assert shown(token) == f"{token.rpartition('.')[0]}.***"
    assert shown("nonsense") == "***"
