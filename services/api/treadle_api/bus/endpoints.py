"""The endpoints of the service `treadle`, as they are told to whoever looks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from treadle import json
from treadle.messaging.subjects import service_subject
from treadle.wire.direct import CancelRequest, JoinRequest, RunRef, WaitRequest
from treadle.wire.run_view import RunView
from treadle.wire.runs import BatchRun
from treadle_api.bus.answering import Answering
from treadle_api.bus.call import Call
from treadle_api.bus.micro import Endpoint
from treadle_api.bus.runs import DirectRuns

# The values that a run left; `__interrupt__` where it stopped to ask, `__error__` where it failed.
VALUES = dict[str, Any]


@dataclass(frozen=True)
class Direct:
    """What is asked for on one subject, and what comes back."""

    description: str
    operation: Callable[[DirectRuns, Call], Awaitable[bytes]]
    request: Any
    response: Any


# By the last token of their subjects, `treadle.api.runs.create` and the like.
RUNS = {
    "create": Direct(
        "Create a run in the background, as POST /runs does, or with thread_id POST /threads/{thread_id}/runs.",
        DirectRuns.create,
        BatchRun,
        RunView,
    ),
    "wait": Direct(
        "Create a run and answer with its result; 408 if it still goes on after timeout_secs.",
        DirectRuns.wait,
        WaitRequest,
        VALUES,
    ),
    "get": Direct("A run as it is now.", DirectRuns.get, RunRef, RunView),
    "join": Direct(
        "The result of a run, once it has ended; 408 if it still goes on after timeout_secs.",
        DirectRuns.join,
        JoinRequest,
        VALUES,
    ),
    "cancel": Direct(
        "Cancel a run: interrupt keeps its checkpoints, rollback removes them and it.",
        DirectRuns.cancel,
        CancelRequest,
        VALUES,
    ),
}


def endpoints(runs: DirectRuns, answering: Answering) -> list[Endpoint]:
    """What answers on their subjects."""
    return [_endpoint(name, direct, runs, answering) for name, direct in RUNS.items()]


def _endpoint(name: str, direct: Direct, runs: DirectRuns, answering: Answering) -> Endpoint:
    metadata = {
        "description": direct.description,
        "format": "application/json",
        "request_schema": _schema(direct.request),
        "response_schema": _schema(direct.response),
    }
    handler = answering.handler(f"runs.{name}", partial(direct.operation, runs))
    return Endpoint(f"runs-{name}", service_subject(name), metadata, handler)


def _schema(kind: Any) -> str:
    return json.text(msgspec.json.schema(kind))
