"""What goes to and fro on `treadle.api.>` besides the bodies of the HTTP API.

Every request and every answer is JSON. A request that is refused is answered with the service framework's headers
`Nats-Service-Error` (the detail) and `Nats-Service-Error-Code` (an HTTP status), and a `Problem` as its body.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from treadle.model import CancelAction
from treadle.wire.runs import BatchRun

# Seconds; what the server allows may be less, and then that is how long it holds the answer.
Patience = Annotated[float, Meta(gt=0, le=366 * 86400)]


class WaitRequest(BatchRun, kw_only=True):
    """A run to be made, whose result is wanted. `treadle.api.runs.create` takes the same without `timeout_secs`."""

    timeout_secs: Patience | None = None


class RunRef(Struct, kw_only=True):
    """Which run."""

    thread_id: UUID
    run_id: UUID


class JoinRequest(RunRef, kw_only=True):
    """A run whose result is wanted."""

    timeout_secs: Patience | None = None


class CancelRequest(RunRef, kw_only=True):
    """A run to be cancelled; with `wait`, the answer comes when it has ended."""

    action: CancelAction = CancelAction.INTERRUPT
    wait: bool = False
    timeout_secs: Patience | None = None


class Problem(Struct, kw_only=True):
    """Why a request was refused, or could not be answered in time.

    `error` is the name of a class of `treadle.errors`, or of what the result could not be; `thread_id` and `run_id` are
    there if the request made a run, or was about one.
    """

    code: int
    error: str
    detail: str
    thread_id: UUID | UnsetType = UNSET
    run_id: UUID | UnsetType = UNSET
