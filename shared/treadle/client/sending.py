"""How messages leave: with the sender's trace, signed if there is a key, and with errors that can be caught."""

from __future__ import annotations

from typing import Any

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from opentelemetry.propagate import inject

from treadle import json
from treadle.client.problems import CODE, error_of
from treadle.errors import TooLarge, Unavailable
from treadle.identity import HEADER, Identity, sign
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.requests import MESSAGE_ID
from treadle.messaging.subjects import service_subject


class Sending:
    """Sends requests for whom a client acts.

    Args:
        key: TREADLE_IDENTITY_SECRET, with which the sender's identity is signed; nothing: it has none to show.
    """

    def __init__(self, nats: Nats, key: str | None, identity: Identity | None) -> None:
        self._nats = nats
        self._key = key
        self._identity = identity

    async def ask(
        self, endpoint: str, body: Struct, answer_secs: float, message_id: str | None = None
    ) -> bytes:
        """What the service answers.

        Args:
            endpoint: `create`, `get` and the like.
            answer_secs: how long the answer may take.

        Raises:
            TreadleError: of the class that the server raised.
            TooLarge: the request is larger than NATS lets through.
            Unavailable: nobody answers, or not in time: it is not known whether the request was heard.
        """
        subject, data = service_subject(endpoint), encoded(body)
        headers = self.headers(subject, data, message_id)
        try:
            answer = await self._nats.request(subject, data, timeout=answer_secs, headers=headers)
        except nats.errors.NoRespondersError:
            raise Unavailable(f"No API process of Treadle answers on {subject}: is one running?") from None
        except nats.errors.MaxPayloadError:
            raise too_large(self._nats, subject, data) from None
        except NATS_ERRORS as error:
            raise Unavailable(f"{subject} was not answered: {error or type(error).__name__}") from error
        if CODE in (answer.headers or {}):
            raise error_of(answer.data)
        return answer.data

    def headers(self, subject: str, data: bytes, message_id: str | None) -> dict[str, str]:
        """Those of one message."""
        headers: dict[str, str] = {} if message_id is None else {MESSAGE_ID: message_id}
        inject(headers)
        if self._key is not None and self._identity is not None:
            headers[HEADER] = sign(
                self._key,
                user=self._identity.user,
                tenant=self._identity.tenant,
                subject=subject,
                body=data,
                message_id=message_id,
            )
        return headers


def too_large(nats: Nats, subject: str, data: bytes) -> TooLarge:
    """What no attempt would change."""
    return TooLarge(
        f"{subject}: the request has {len(data)} bytes, more than this NATS server lets through ({nats.max_payload} with "
        "all headers, and some room for Treadle's): send what it is about by its address."
    )


def encoded(body: Struct) -> bytes:
    """JSON of what was set: a field that is None is as good as left out."""
    fields: dict[str, Any] = msgspec.structs.asdict(body)
    return json.encode({name: value for name, value in fields.items() if value is not None})
