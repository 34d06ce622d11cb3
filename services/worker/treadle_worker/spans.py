"""The spans of a slot's work: a wake-up from its delivery to its ack, and around each run the statements.

A run belongs to the trace of the request that created it. The first run that a wake-up leads to goes on in the
wake-up's own span; runs that follow on the thread, and runs that were told of by a repeated wake-up, which carries no
trace, take up the trace that was stored with them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from opentelemetry.context import Context

from treadle.db.runs import Outcome
from treadle.messaging.subjects import route_consumer
from treadle.messaging.wakeups import HeldWakeup
from treadle.model import Run
from treadle.telemetry import conventions
from treadle.telemetry.tracing import Tracing

Span = AbstractContextManager[object]
_NONE: Span = nullcontext()


class Spans:
    """Makes them; costs nothing when tracing is off."""

    def __init__(self, tracing: Tracing, route: str) -> None:
        self._tracing = tracing
        self._route = route

    def process(self, delivery: HeldWakeup) -> Span:
        """Around everything that a wake-up leads to."""
        if not self._tracing.enabled:
            return _NONE
        spec = conventions.process(delivery.subject, self._route, route_consumer(self._route))
        return self._tracing.span(*spec, parent=self._tracing.extract(delivery.headers))

    def claim(self, delivery: HeldWakeup) -> Span:
        if not self._tracing.enabled:
            return _NONE
        return self._tracing.span(*conventions.claim(self._route, delivery.thread_id))

    def finish(self, run: Run, outcome: Outcome, trace: Context | None) -> Span:
        if not self._tracing.enabled:
            return _NONE
        spec = conventions.finish(run.run_id, run.attempt, outcome.status, left=len(outcome.left))
        return self._tracing.span(*spec, parent=trace)

    def settle(self, operation: Literal["ack", "nak"], delivery: HeldWakeup) -> Span:
        if not self._tracing.enabled:
            return _NONE
        return self._tracing.span(*conventions.settle(operation, delivery.subject, self._route))

    def trace_of(self, run: Run, delivery: HeldWakeup) -> Context | None:
        """The parent of a run's spans; None: the current span."""
        if not self._tracing.enabled:
            return None
        if delivery.run_id == run.run_id and self._tracing.extract(delivery.headers) is not None:
            return None
        return self._tracing.extract(run.kwargs.get("trace")) or Context()
