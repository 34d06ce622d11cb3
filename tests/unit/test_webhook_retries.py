"""When webhooks are tried again, and how they are signed."""

from __future__ import annotations

import pytest

from treadle.errors import ConfigError
from treadle.webhooks.retries import LONGEST_PAUSE_SECS, Retries
from treadle.webhooks.sender import Answer
from treadle.webhooks.signature import secrets, signature

RETRIES = Retries(most_attempts=15, longest_secs=86400, first_pause_secs=5)


def verdict(status: int | None, attempts: int = 1, age_secs: float = 1) -> str:
    return RETRIES.judge(Answer(secs=0.1, status=status), attempts, age_secs)[0]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_delivered(status: int) -> None:
    assert verdict(status) == "delivered"


@pytest.mark.parametrize("status", [None, 408, 409, 423, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int | None) -> None:
    assert verdict(status) == "retry"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 422])
def test_what_will_not_pass_is_given_up(status: int) -> None:
    assert verdict(status) == "failed"


def test_a_refused_address_is_not_tried_again() -> None:
    assert RETRIES.judge(Answer(secs=0, error="no", refused=True), 1, 1) == ("refused", None)


def test_it_ends_after_the_last_attempt_or_when_the_next_would_come_too_late() -> None:
    assert verdict(500, attempts=14) == "retry"
    assert verdict(500, attempts=15) == "failed"
    assert verdict(500, age_secs=86399) == "failed"


def test_pauses_double_up_to_an_hour_and_vary_by_half() -> None:
    for attempts in range(1, 15):
        whole = min(5 * 2.0 ** (attempts - 1), LONGEST_PAUSE_SECS)
        pauses = {RETRIES.judge(Answer(secs=0, status=503), attempts, 0)[1] or 0 for _ in range(50)}
        assert len(pauses) > 40
        assert whole / 2 <= min(pauses)
        assert max(pauses) <= whole


def test_a_receiver_that_asks_for_time_gets_it_unless_it_asks_for_too_much() -> None:
    assert RETRIES.judge(Answer(secs=0, status=429, retry_after=600), 1, 0) == ("retry", 600)
    assert RETRIES.judge(Answer(secs=0, status=503, retry_after=90000), 1, 0) == ("failed", None)


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks libraries."""
    keys = secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_give_two_signatures_and_any_text_is_a_secret() -> None:
    both = signature(secrets("old whsec_bmV3"), "id", 1, b"x")

    assert both == f"{signature([b'old'], 'id', 1, b'x')} {signature([b'new'], 'id', 1, b'x')}"


def test_a_secret_that_is_not_base64_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="TREADLE_WEBHOOK_SECRET cannot be used") as raised:
        secrets("whsec_hunter2!")

    assert "hunter2" not in str(raised.value)
