"""The client: create, get, cancel and wait for runs, publish requests that are kept, and hear what happens to runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import UUID, uuid4

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.js.errors import BadRequestError

from treadle.client.hearing import hear
from treadle.client.receipts import Receipt
from treadle.client.sending import Sending, encoded, too_large
from treadle.errors import ConfigError, InvalidRequest, StillRunning, Unavailable
from treadle.identity import Identity
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.requests import SOURCE
from treadle.messaging.subjects import request_subject
from treadle.model import DEFAULT_TENANT, CancelAction
from treadle.wire.direct import CancelRequest, JoinRequest, RunRef
from treadle.wire.run_event import RunEvent, RunEventStatus
from treadle.wire.run_view import RunView
from treadle.wire.runs import BatchRun

# What is answered at once takes this long at the most; then it is asked for again.
ANSWER_SECS = 5.0
# How long one request for a result is held: one that is lost with its NATS server is made again after that.
HOLD_SECS = 5.0
PAUSE_SECS = 0.5
DEFAULT_SECS = 30.0


class RunIds(Protocol):
    """What names a run: a RunView, a RunRef, a RunEvent."""

    @property
    def thread_id(self) -> UUID: ...
    @property
    def run_id(self) -> UUID: ...


class Client:
    """Runs over NATS. Make one with `connect`, or of a connection that you have already.

    Everything is tried again, for `timeout_secs`, while NATS or Treadle cannot be reached, and nothing that is tried again
    makes a second run: each request for a run has a name, `message_id`.

    All methods raise the errors of `treadle.errors` that the server raised: InvalidRequest, NotFound, Conflict,
    Unauthorized, Unavailable and so on.
    """

    def __init__(self, connection: Nats, *, key: str | None = None, identity: Identity | None = None) -> None:
        self._nats = connection
        self._sending = Sending(connection, key, identity)
        self._key = key
        self._tenant = DEFAULT_TENANT if identity is None or identity.tenant is None else identity.tenant

    def acting_for(self, user: str, tenant: str | None = None) -> Client:
        """The same client in the name of a user, which is signed and which graphs are told.

        Raises:
            ConfigError: the client has no key to sign with.
        """
        if self._key is None:
            raise ConfigError(
                "Give `key` to the client (TREADLE_IDENTITY_SECRET): identities are signed with it."
            )
        return Client(self._nats, key=self._key, identity=Identity(user, tenant))

    async def create(
        self, request: BatchRun, *, message_id: str | None = None, timeout_secs: float = DEFAULT_SECS
    ) -> RunView:
        """Create a run in the background: on `thread_id`, or stateless.

        Args:
            message_id: the name of this request: whatever asks under the same name again gets the same run. None: a
                new one, so that it makes one run although it may have to be sent twice.
        """
        name = message_id or str(uuid4())
        answer = await self._patiently("create", request, timeout_secs, name)
        return msgspec.json.decode(answer, type=RunView)

    async def get(self, run: RunIds, *, timeout_secs: float = DEFAULT_SECS) -> RunView:
        """A run as it is now."""
        answer = await self._patiently("get", _ref(run), timeout_secs)
        return msgspec.json.decode(answer, type=RunView)

    async def join(self, run: RunIds, *, timeout_secs: float | None = None) -> dict[str, Any]:
        """The result of a run, once it has ended: the values of its thread, with `__error__` if it failed.

        Args:
            timeout_secs: None: however long it takes.

        Raises:
            StillRunning: it had not ended in time; it goes on.
        """
        deadline = _deadline(timeout_secs)
        while True:
            hold = min(HOLD_SECS, max(_left(deadline), 0.001))
            request = JoinRequest(thread_id=run.thread_id, run_id=run.run_id, timeout_secs=hold)
            try:
                return msgspec.json.decode(await self._sending.ask("join", request, hold + ANSWER_SECS))
            except StillRunning:
                if _left(deadline) <= 0:
                    raise
            except Unavailable as error:
                await self._pause(deadline, str(error))

    async def wait(
        self, request: BatchRun, *, message_id: str | None = None, timeout_secs: float | None = None
    ) -> dict[str, Any]:
        """Create a run and wait for its result, as `create` and `join` do."""
        deadline = _deadline(timeout_secs)
        secs = DEFAULT_SECS if timeout_secs is None else timeout_secs
        run = await self.create(request, message_id=message_id, timeout_secs=secs)
        return await self.join(run, timeout_secs=None if deadline is None else _left(deadline))

    async def cancel(
        self,
        run: RunIds,
        action: CancelAction = CancelAction.INTERRUPT,
        *,
        timeout_secs: float = DEFAULT_SECS,
    ) -> None:
        """Cancel a run: `interrupt` keeps its checkpoints, `rollback` removes them and it.

        Raises:
            NotFound: there is no such run, or it has ended; also when the answer to an earlier try was lost.
        """
        request = CancelRequest(thread_id=run.thread_id, run_id=run.run_id, action=action)
        await self._patiently("cancel", request, timeout_secs)

    async def publish(
        self,
        source: str,
        request: BatchRun,
        *,
        message_id: str | None = None,
        timeout_secs: float = DEFAULT_SECS,
    ) -> Receipt:
        """Publish a request that NATS keeps until it is a run, even if no part of Treadle is up.

        One that cannot be used becomes a dead letter: nobody is there to be told.

        Args:
            source: who asks: letters, digits, `_` and `-`.
            message_id: the name of this request, as for `create`. Let names differ between sources too.

        Raises:
            InvalidRequest: `source` cannot be part of a subject.
            TooLarge: NATS lets no request of this size through.
            Unavailable: NATS did not take it in time; it is not known whether it has it.
        """
        if not SOURCE.fullmatch(source):
            raise InvalidRequest(f"source: {source!r} must be 1 to 64 letters, digits, `_` and `-`.")
        subject, data, name = request_subject(source), encoded(request), message_id or str(uuid4())
        deadline, stream = _deadline(timeout_secs), self._nats.jetstream()
        while True:
            headers = self._sending.headers(subject, data, name)
            try:
                await stream.publish(subject, data, timeout=ANSWER_SECS, headers=headers)
                return Receipt(source, name)
            except (nats.errors.MaxPayloadError, BadRequestError):
                raise too_large(self._nats, subject, data) from None
            except NATS_ERRORS as error:
                await self._pause(deadline, f"{subject}: not stored by NATS: {error or type(error).__name__}")

    @asynccontextmanager
    async def events(
        self,
        *,
        thread_id: UUID | None = None,
        status: RunEventStatus | None = None,
        durable: str | None = None,
        tenant: str | None = None,
    ) -> AsyncGenerator[AsyncGenerator[RunEvent]]:
        """What happens to runs of a tenant, each event once: of all its threads or of one, all or those of a status.

            async with treadle.events(status="success", durable="billing") as events:
                async for event in events:
                    ...

        Args:
            durable: the name under which NATS remembers what was heard: all who use it share the events, and one counts as
                heard when the next is asked for. What was not heard comes again to whoever hears next: at once and before
                what follows if its hearer has left this block; up to 30 seconds later, and after what follows meanwhile, if
                the hearer or NATS was killed. NATS may then repeat, too, what was heard just before. It begins with what is
                kept (a day, if not set otherwise). None: what happens from now on, to this client alone.
            tenant: None: the one for which this client acts.
        """
        async with hear(self._nats, tenant or self._tenant, thread_id, status, durable) as events:
            yield events

    async def _patiently(
        self, endpoint: str, body: msgspec.Struct, timeout_secs: float, message_id: str | None = None
    ) -> bytes:
        """Ask until there is an answer, or the time is over."""
        deadline = _deadline(timeout_secs)
        while True:
            secs = min(ANSWER_SECS, max(_left(deadline), 0.001))
            try:
                return await self._sending.ask(endpoint, body, secs, message_id)
            except Unavailable as error:
                await self._pause(deadline, str(error))

    async def _pause(self, deadline: float | None, problem: str) -> None:
        """Before another try. Raises Unavailable when there is no time for one, or it would be in vain."""
        if self._nats.is_closed or (deadline is not None and _left(deadline) <= PAUSE_SECS):
            raise Unavailable(problem)
        await asyncio.sleep(PAUSE_SECS)


def _ref(run: RunIds) -> RunRef:
    return RunRef(thread_id=run.thread_id, run_id=run.run_id)


def _deadline(secs: float | None) -> float | None:
    return None if secs is None else time.monotonic() + secs


def _left(deadline: float | None) -> float:
    return HOLD_SECS if deadline is None else deadline - time.monotonic()
