"""One attempt to deliver a webhook: a POST, and what came of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from uuid import UUID

import httpcore
import httpx
import msgspec

from treadle.errors import InvalidRequest
from treadle.webhooks.guard import AddressRefused, GuardedNetwork, Resolver, resolve
from treadle.webhooks.policy import WebhookPolicy
from treadle.webhooks.signature import signature

USER_AGENT = f"treadle/{version('treadle')}"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt: a status, or the error that kept one from coming.

    `retry_after`: seconds that the receiver asks for. `refused`: the policy forbids the address.
    """

    secs: float
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    refused: bool = False


class WebhookSender:
    """Sends webhooks.

    Args:
        headers: sent along with each.
        keys: sign each, if there are any.
        timeout_secs: for one attempt, from the look-up of the host to the head of the answer.
    """

    def __init__(
        self,
        policy: WebhookPolicy,
        *,
        headers: Mapping[str, str],
        keys: Sequence[bytes],
        timeout_secs: float,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._headers = headers
        self._keys = keys
        self._timeout_secs = timeout_secs
        self._policy = policy
        self._network = GuardedNetwork(policy, resolver)
        self._ssl_context = ssl_context or httpx.create_ssl_context()

    async def send(self, url: str, webhook_id: UUID, body: bytes) -> Answer:
        """Make one attempt. A redirection is an answer like others, and is not followed."""
        started = time.monotonic()
        try:
            self._policy.check(url)  # it may have grown stricter since the run asked for it
            async with asyncio.timeout(self._timeout_secs):
                status, retry_after = await self._post(httpx.URL(url), str(webhook_id), body)
        except (AddressRefused, InvalidRequest) as error:
            return Answer(secs=time.monotonic() - started, error=str(error), refused=True)
        except TimeoutError:
            error = f"no answer within {self._timeout_secs:g} seconds (TREADLE_WEBHOOK_TIMEOUT_SECS)"
            # uvloop's timers may fire a millisecond early; the record must not contradict the error.
            return Answer(secs=max(time.monotonic() - started, self._timeout_secs), error=error)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            return Answer(secs=time.monotonic() - started, error=f"{type(error).__name__}: {error}")
        return Answer(secs=time.monotonic() - started, status=status, retry_after=retry_after)

    async def _post(self, url: httpx.URL, webhook_id: str, body: bytes) -> tuple[int, float | None]:
        """The head of the answer; its body is nobody's business, and may have no end."""
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context, network_backend=self._network, max_keepalive_connections=0
            ) as pool,
            pool.stream(
                "POST",
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=self._headers_for(url, webhook_id, body),
                content=body,
            ) as response,
        ):
            return response.status, _retry_after(response.headers)

    def _headers_for(self, url: httpx.URL, webhook_id: str, body: bytes) -> list[tuple[bytes, bytes]]:
        timestamp = int(time.time())
        headers = {
            "host": url.netloc.decode("ascii"),
            "user-agent": USER_AGENT,
            **_authorization(url),
            **{name.lower(): value for name, value in self._headers.items()},
            "content-type": "application/json",
            "content-length": str(len(body)),
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
        }
        if self._keys:
            headers["webhook-signature"] = signature(self._keys, webhook_id, timestamp, body)
        return [(name.encode(), value.encode()) for name, value in headers.items()]


def _authorization(url: httpx.URL) -> dict[str, str]:
    """User and password of a URL, as browsers send them."""
    if not url.userinfo:
        return {}
    return {"authorization": f"Basic {b64encode(f'{url.username}:{url.password}'.encode()).decode()}"}


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """The seconds of `Retry-After`, which may be a number or a date; None if it is neither."""
    text = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "")
    if text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
