"""The first wake-ups of runs: workers are told of what was accepted."""

from __future__ import annotations

from treadle.messaging.subjects import wakeup_subject
from treadle.messaging.wakeups import Source, Waiting, WakeupPublisher
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing


class FirstWakeups:
    """Publishes them, counted and traced."""

    def __init__(self, publisher: WakeupPublisher, metrics: Metrics, tracing: Tracing) -> None:
        self._publisher = publisher
        self._metrics = metrics
        self._tracing = tracing

    async def wake(self, run: Waiting) -> None:
        """Tell the workers. When NATS does not take it, the sweeper does."""
        message_id = f"{run.run_id}:{run.attempt}"
        with self._tracing.span(
            *conventions.publish(wakeup_subject(run.route, run.thread_id), run.route, message_id)
        ):
            headers: dict[str, str] = {}
            self._tracing.inject(headers)
            published = await self._publisher.publish(run, Source.CREATE, headers=headers)
        (self._metrics.wakeups if published else self._metrics.wakeup_failures)["create"].inc()
