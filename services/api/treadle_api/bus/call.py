"""A request over NATS, as the handlers see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from nats.aio.msg import Msg

from treadle import json
from treadle.db.runs import RequestKey
from treadle.identity import Identity, IdentityVerifier
from treadle.messaging.requests import MESSAGE_ID
from treadle.wire.limits import BodyLimits
from treadle.wire.reading import read_body
from treadle_api.access.access import OPEN, access_for
from treadle_api.access.rules import Rules

T = TypeVar("T")

# Where names of requests belong; no source of durable requests is called so, since it is one token of a subject.
SOURCE = "treadle.api"


class Call:
    """What was sent, and which run it is about, once that is known: whatever goes wrong then, the answer names it."""

    def __init__(self, message: Msg, limits: BodyLimits) -> None:
        self._limits = limits
        self.subject = message.subject
        self.data = message.data
        self.headers: Mapping[str, str] = message.headers or {}
        self.identity: Identity | None = None
        self.access = OPEN
        self.thread_id: UUID | None = None
        self.run_id: UUID | None = None

    def read(self, kind: type[T]) -> T:
        """The body. Raises InvalidRequest, as `read_body` does."""
        return read_body(self.data, kind, self._limits)

    def prove(self, verifier: IdentityVerifier, rules: Rules | None) -> None:
        """Find out who asks. Raises Unauthorized, as `IdentityVerifier.verify` does."""
        self.identity = verifier.verify(self.headers, self.subject, self.data)
        self.access = access_for(self.identity, rules)

    @property
    def key(self) -> RequestKey | None:
        """The name that the caller gave this request, so that asking again makes no second run. It is the caller's own."""
        message_id, identity = self.headers.get(MESSAGE_ID), self.identity
        source = SOURCE if identity is None else SOURCE + json.text([identity.tenant, identity.user])
        return RequestKey(source, message_id) if message_id else None

    def about(self, thread_id: UUID, run_id: UUID) -> None:
        self.thread_id, self.run_id = thread_id, run_id
