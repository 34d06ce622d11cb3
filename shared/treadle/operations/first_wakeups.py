"""The first wake-ups of runs: workers are told of what was accepted."""

from __future__ import annotations

from treadle.messaging.subjects import wakeup_subject
from treadle.messaging.wakeups import Source, Waiting
from treadle.operations.wakeups import Wakeups
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing


class FirstWakeups:
    """Sees to them, counted and traced."""

    def __init__(self, wakeups: Wakeups, metrics: Metrics, tracing: Tracing) -> None:
        self._wakeups = wakeups
        self._metrics = metrics
        self._tracing = tracing

    async def wake(self, run: Waiting) -> None:
        """Tell the workers, now or when it is its turn. When neither NATS nor Postgres takes it, the sweeper does."""
        message_id = f"{run.run_id}:{run.attempt}"
        with self._tracing.span(
            *conventions.publish(wakeup_subject(run.route, run.thread_id), run.route, message_id)
        ):
            headers: dict[str, str] = {}
            self._tracing.inject(headers)
            seen_to = await self._wakeups.wake(run, Source.CREATE, headers)
        (self._metrics.wakeups if seen_to else self._metrics.wakeup_failures)["create"].inc()
