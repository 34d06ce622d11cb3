"""Metrics: every instrument of Treadle, in one registry that a process builds and passes on.

Names follow Prometheus: `treadle_<what>_<unit>`, seconds throughout. Labels with a known set of values are
bound when the instruments are made, so that counting is one dictionary look-up and every series is there from
the start (a rate over a counter that appears with its first event misses that event).

    metrics.claims["claimed"].inc()
    metrics.execution.observe(seconds)
    with metrics.claim_sql.time(): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from treadle.model import ROLLED_BACK, RunStatus
from treadle.telemetry.conventions import known_method

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

ClaimOutcome: TypeAlias = Literal["claimed", "stale", "leased", "solitary", "ended"]
"""claimed: a run was taken; stale: nothing to do on the thread; leased: another worker holds it; solitary: the next run
is to be executed alone; ended: the claim ended a run whose workers had died, too often or after a cancel."""
SolitaryOutcome: TypeAlias = Literal["ended", "left", "died", "not_begun"]
"""What came of a process for one run. ended: the run did; left: it was handed back, or is another worker's; died: the
process did; not_begun: it did before it had the run."""
LeaseLoss: TypeAlias = Literal["taken_over", "unreachable"]
"""Why a worker stopped a run that it held; unreachable: Postgres was, until the lease ended."""
WakeupSource: TypeAlias = Literal["create", "sweeper", "delay", "schedule"]
"""delay: by the scheduler, for a run that has come due; schedule: by NATS, where it keeps schedules."""
Duty: TypeAlias = Literal[
    "untold",
    "leaseless",
    "webhook",
    "delay",
    "turns",
    "needless_turns",
    "cron",
    "run_events",
    "expire",
    "ttl",
    "forget",
    "forget_requests",
    "forget_ticks",
    "forget_webhooks",
    "forget_dead_letters",
    "forget_runs",
    "forget_audit",
]
"""untold: pending runs that no worker seems to know of; leaseless: running ones whose worker is gone; webhook: those that
were not delivered; turns: runs whose tenant's turn it is, needless_turns: rows of such that need none any more; expire to the last: removals, which docs/retention.md lists."""
TickOutcome: TypeAlias = Literal["made", "refused", "skipped"]
"""refused: its run cannot be made; skipped: it was missed, and its cron skips those."""
RequestOutcome: TypeAlias = Literal["accepted", "repeated", "refused", "postponed"]
"""What came of a durable request that was delivered; repeated: it had made its run before; refused: it is a dead letter;
postponed: it comes again."""
WebhookVerdict: TypeAlias = Literal["delivered", "retry", "refused", "failed"]
"""What came of an attempt to deliver a webhook; refused: its address is forbidden; failed: it is given up."""

Limit: TypeAlias = Literal["queue", "requests", "connections", "streams"]
"""What a request was turned away by: TREADLE_MAX_PENDING_RUNS, TREADLE_HTTP_MAX_REQUESTS or TREADLE_NATS_MAX_REQUESTS,
TREADLE_DB_POOL_WAIT_SECS, TREADLE_MAX_STREAMS_PER_CLIENT."""

BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""1 ms to 5 min: what waits for a person's graph or a queue."""
FAST_BUCKETS: Final = (0.00025, *BUCKETS[:13])
"""0.25 ms to 10 s: one statement or write."""

Label = TypeVar("Label", bound=str)


class Backlog(NamedTuple):
    """What waits on a route: runs that are due and not yet claimed, and the age of the oldest, in seconds."""

    depth: int
    oldest_age: float


class _Registry(CollectorRegistry):
    """Without the `_created` series, which double the text and which Prometheus does not use."""

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """All instruments. Each process makes one and serves it with `render()` or `serve_metrics`."""

    def __init__(self) -> None:
        self.registry: Final[CollectorRegistry] = _Registry()
        self._queue()
        self._protocol()
        self._events()
        self._latencies()
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """All series in the Prometheus text format, version 0.0.4; send with `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def set_backlog(self, backlog: Mapping[str, Backlog]) -> None:
        """What waits now, by route. Routes that were known and are not named have nothing waiting."""
        for route in self._routes - backlog.keys():
            self.queue_depth.labels(route).set(0)
            self.oldest_pending.labels(route).set(0)
        for route, (depth, oldest_age) in backlog.items():
            self.queue_depth.labels(route).set(depth)
            self.oldest_pending.labels(route).set(oldest_age)
        self._routes |= backlog.keys()

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an HTTP request. `route` is the template (`/threads/{thread_id}`), never the path as sent."""
        key = (route, method, status)
        series = self._requests.get(key)
        if series is None:
            series = self.http_requests.labels(route, known_method(method), str(status))
            self._requests[route, known_method(method), status] = series
        series.observe(seconds)

    def _queue(self) -> None:
        """Runs that wait, come and go."""
        self.queue_depth = self._gauge("queue_depth", "Runs that are due and not claimed.", "route")
        self.oldest_pending = self._gauge(
            "oldest_pending_age_seconds", "Age of the oldest run that is due and not claimed.", "route"
        )
        self.runs_created = self._counter("runs_created", "Runs accepted.")
        ends = [*(str(status) for status in RunStatus if status.terminal), ROLLED_BACK]
        self.runs_ended = self._counters("runs_ended", "Runs that ended, by final status.", "status", ends)
        self.dead_letters = self._counter("dead_letters", "Dead-letter records written.")
        self._routes: set[str] = set()

    def _protocol(self) -> None:
        """Claim, lease, wake-up, sweep."""
        self.claims: Mapping[ClaimOutcome, Counter] = self._counters(
            "claims", "Wake-ups answered, by what the claim found.", "outcome", get_args(ClaimOutcome)
        )
        self.solitary_attempts: Mapping[SolitaryOutcome, Counter] = self._counters(
            "solitary_attempts",
            "Processes that executed one run alone, by what came of it.",
            "outcome",
            get_args(SolitaryOutcome),
        )
        self.leases_held = self._gauge("leases_held", "Runs that this worker holds.")
        self.leases_lost: Mapping[LeaseLoss, Counter] = self._counters(
            "leases_lost", "Runs that a worker had to stop, by reason.", "reason", get_args(LeaseLoss)
        )
        self.heartbeats = self._counter("heartbeats", "Lease extensions written.")
        self.heartbeat_failures = self._counter("heartbeat_failures", "Lease extensions that failed.")
        self.sweeps: Mapping[Duty, Counter] = self._counters(
            "sweeps", "Rounds of a duty.", "duty", get_args(Duty)
        )
        self.repairs: Mapping[Duty, Counter] = self._counters(
            "repairs", "Things set right by a duty.", "duty", get_args(Duty)
        )
        self.wakeups: Mapping[WakeupSource, Counter] = self._counters(
            "wakeups_published", "Wake-ups published, by who did.", "source", get_args(WakeupSource)
        )
        self.wakeup_failures: Mapping[WakeupSource, Counter] = self._counters(
            "wakeup_publish_failures", "Wake-ups that NATS did not take.", "source", get_args(WakeupSource)
        )

        self.refused: Mapping[Limit, Counter] = self._counters(
            "requests_refused", "Requests turned away, by the limit.", "limit", get_args(Limit)
        )
        self.durable_requests: Mapping[RequestOutcome, Counter] = self._counters(
            "durable_requests",
            "Durable requests delivered, by what came of them.",
            "outcome",
            get_args(RequestOutcome),
        )
        self.webhooks: Mapping[WebhookVerdict, Counter] = self._counters(
            "webhook_attempts", "Attempts to deliver a webhook.", "verdict", get_args(WebhookVerdict)
        )

        self.cron_ticks: Mapping[TickOutcome, Counter] = self._counters(
            "cron_ticks", "Ticks of crons, by what came of them.", "outcome", get_args(TickOutcome)
        )
        self.crons_missed = self._counter(
            "crons_missed", "Times that ticks of a cron were found that nobody was there to make."
        )

    def _events(self) -> None:
        """Live events and those who watch them."""
        self.stream_clients = self._gauge("stream_clients", "Clients that watch a run now.")
        self.streams_cut = self._counter(
            "streams_cut", "Connections cut off because their client took nothing any more."
        )
        self.events_published = self._counter("events_published", "Live events published.")
        self.events_dropped = self._counter(
            "events_dropped", "Live events that Redis did not take, or that came after a takeover."
        )

        self.run_events_published = self._counter(
            "run_events_published", "Run events that JetStream has stored."
        )
        self.run_events_failed = self._counter(
            "run_events_publish_failures",
            "Run events that NATS did not take; they wait for the next attempt.",
        )
        self.run_events_dropped = self._counter(
            "run_events_dropped", "Run events that waited for NATS too long, and were given up."
        )
        self.run_events_waiting = self._gauge("run_events_waiting", "Run events that are not published yet.")

    def _latencies(self) -> None:
        self.http_requests = Histogram(
            "treadle_http_request_duration_seconds",
            "HTTP requests, until the answer begins.",
            ("route", "method", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self.direct_requests = Histogram(
            "treadle_direct_request_duration_seconds",
            "Requests over NATS, until they are answered.",
            ("endpoint", "code"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.wait = self._histogram("run_wait_seconds", "From a run's acceptance to its first claim.")
        self.first_event = self._histogram(
            "run_first_event_seconds", "From the start of an attempt to its first event."
        )
        self.execution = self._histogram(
            "run_execution_seconds", "One attempt of a run, from claim to finish."
        )
        self.cron_lateness = self._histogram(
            "cron_lateness_seconds", "From when a tick of a cron was due until its run was accepted."
        )
        self.claim_sql = self._histogram("claim_sql_seconds", "The claim statement.", FAST_BUCKETS)
        self.finish_sql = self._histogram("finish_sql_seconds", "The finish transaction.", FAST_BUCKETS)
        self.heartbeat_sql = self._histogram(
            "heartbeat_sql_seconds", "The heartbeat statement.", FAST_BUCKETS
        )
        self.checkpoint_write = self._histogram(
            "checkpoint_write_seconds", "A checkpoint or its writes, until Postgres has it.", FAST_BUCKETS
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"treadle_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"treadle_{name}", text, registry=self.registry)

    def _counters(self, name: str, text: str, label: str, values: Iterable[Label]) -> Mapping[Label, Counter]:
        """One bound counter for each value that the label can have."""
        counter = Counter(f"treadle_{name}", text, (label,), registry=self.registry)
        return {value: counter.labels(value) for value in values}

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        return Histogram(f"treadle_{name}", text, buckets=buckets, registry=self.registry)
