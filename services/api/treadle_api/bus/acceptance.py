"""Accepting runs that were asked for over NATS: each name of a request makes one."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from treadle.db.runs import Requested, RequestKey
from treadle.errors import TreadleError, Unauthorized, Unavailable
from treadle.identity import refuse_claimed_identity
from treadle.messaging.requests import check_name
from treadle.model import Run
from treadle.operations.asking import Asking
from treadle.operations.create import Creation
from treadle.operations.ids import new_id
from treadle.wire.limits import BodyLimits
from treadle.wire.reading import read_body
from treadle.wire.runs import BatchRun


class Accepted(Struct, frozen=True):
    """The run that a request has made, now (`new`) or at first; `run` is None when that one is gone."""

    thread_id: UUID
    run_id: UUID
    new: bool
    run: Run | None


class Acceptance:
    """Makes runs of requests.

    A `key` is the request's name; None: it has none, and each time it comes it makes a run. Whoever may use a name may
    learn what was made of it: where senders are told apart only by their identities, those have to be in the name.

    Args:
        limits: of what bodies hold.
        have_waited: requests have waited for room in the queue before they come here, and are not refused for the lack of it.
    """

    def __init__(self, creation: Creation, limits: BodyLimits, *, have_waited: bool = False) -> None:
        self._limits = limits
        self._creation = creation
        self._have_waited = have_waited

    async def accept(self, asking: Asking, body: bytes | BatchRun, key: RequestKey | None) -> Accepted:
        """Make the run that a body asks for, or answer what the first request of this name has made.

        Raises:
            InvalidRequest, NotFound, Conflict: it cannot be used, and no request of this name ever could.
            QueueFull: no more runs may wait.
            Unavailable: Postgres cannot be reached.
        """
        if key is not None:
            check_name(key.message_id)
        try:
            asked = read_body(body, BatchRun, self._limits) if isinstance(body, bytes) else body
            refuse_claimed_identity(asked)
            return await self._made(asking, asked, key)
        except (Unavailable, Unauthorized):
            raise
        except TreadleError:
            # What could be used at first may not be usable any more: its assistant may be gone by now.
            first = None if key is None else await self._creation.requested(key)
            if first is None:
                raise
            return _accepted(first)

    async def _made(self, asking: Asking, body: BatchRun, key: RequestKey | None) -> Accepted:
        if key is not None:
            return _accepted(
                await self._creation.create_once(asking, body, key, has_waited=self._have_waited)
            )
        thread_id, stateless = body.thread_id or new_id(), body.thread_id is None
        run = await self._creation.create(asking, new_id(), thread_id, body, stateless=stateless)
        return Accepted(run.thread_id, run.run_id, True, run)


def _accepted(requested: Requested) -> Accepted:
    return Accepted(requested.thread_id, requested.run_id, requested.created is not None, requested.run)
