"""Names on the bus: streams, consumers and subjects."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from treadle.escaping import token_of
from treadle.model import DEFAULT_TENANT

# The stream of wake-ups. A message is gone once it is acknowledged.
RUNS_STREAM = "TREADLE_RUNS"
RUNS_SUBJECTS = "treadle.runs.>"
# Wake-ups for later, `treadle.delays.<route>.<run_id>`, and those whose time has come, `treadle.due.<route>`.
DELAYS_STREAM = "TREADLE_DELAYS"
DELAYS_SUBJECTS = ["treadle.delays.*.*", "treadle.due.*"]

# Requests for runs that internal services publish, `treadle.requests.<source>`; gone once they are runs or dead letters.
REQUESTS_STREAM = "TREADLE_REQUESTS"
REQUESTS_SUBJECTS = "treadle.requests.*"
# Requests that could not be turned into runs, `treadle.deadletters.<source>`.
DEAD_LETTERS_STREAM = "TREADLE_DEAD_LETTERS"
DEAD_LETTERS_SUBJECTS = "treadle.deadletters.*"
# What happened to runs, `treadle.events.runs.<thread_id>.<status>`; of tenants other than the default one
# `treadle.events.tenants.<tenant>.runs.<thread_id>.<status>`.
EVENTS_STREAM = "TREADLE_EVENTS"
EVENTS_SUBJECTS = ["treadle.events.runs.*.*", "treadle.events.tenants.*.runs.*.*"]
# The service of request and reply: `treadle.api.runs.create` and the like.
SERVICE_PREFIX = "treadle.api"


def wakeup_subject(route: str, thread_id: UUID) -> str:
    """Where the wake-ups of a thread are published: one token for the route, one for the thread."""
    return f"treadle.runs.{route}.{thread_id}"


def service_subject(endpoint: str) -> str:
    """Where one of the service's endpoints is asked: `create`, `get` and the like."""
    return f"{SERVICE_PREFIX}.runs.{endpoint}"


def run_event_subject(tenant: str, thread_id: UUID | Literal["*"], status: str) -> str:
    """Where a change of a tenant's run is told: services choose by thread, by status, or take all; `*` is any of them."""
    within = "" if tenant == DEFAULT_TENANT else f"tenants.{token_of(tenant)}."
    return f"treadle.events.{within}runs.{thread_id}.{status}"


def delay_subject(route: str, run_id: UUID) -> str:
    """Where the wake-up of a delayed run waits for its moment: a subject of its own, as schedules must have."""
    return f"treadle.delays.{route}.{run_id}"


def due_subject(route: str) -> str:
    """Where NATS puts the delayed runs of a route whose time has come."""
    return f"treadle.due.{route}"


def route_filter(route: str) -> str:
    """All wake-ups of a route."""
    return f"treadle.runs.{route}.*"


def route_consumer(route: str) -> str:
    """The durable consumer that the workers of a route share."""
    return f"workers-{route}"


# The durable consumer of requests that all API processes share.
REQUESTS_CONSUMER = "api"


def request_subject(source: str) -> str:
    """Where a service publishes its requests for runs."""
    return f"treadle.requests.{source}"


def dead_letter_subject(source: str) -> str:
    """Where those of its requests are kept that could not be turned into runs."""
    return f"treadle.deadletters.{source}"
