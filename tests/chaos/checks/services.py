"""Services, clients, and the round as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGTERM

from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence
from tests.chaos.site import Death
from tests.graphs.chaos import EXIT_STATUS


def everything_comes_to_rest(evidence: Evidence) -> Iterator[Found]:
    """Faults undone and load over, what is accepted is finished within a bounded time."""
    if evidence.restless:
        yield Found(evidence.restless)


def clients_get_through(evidence: Evidence) -> Iterator[Found]:
    """A client that tries again for as long as the longest outage gets what it wants."""
    for problem in evidence.record.problems:
        yield Found(problem)


def services_end_only_when_they_are_told_to(evidence: Evidence) -> Iterator[Found]:
    """A service ends by a fault, by os._exit in a node, and otherwise not; one that is told to end, with 0."""
    for death in evidence.deaths:
        if (death.told and death.status not in _told(death)) or (
            not death.meant and death.status != EXIT_STATUS
        ):
            tail = "\n".join(death.service.log[-20:])
            yield Found(f"{death.service.name} (pid {death.service.pid}) ended with {death.status}:\n{tail}")


def _told(death: Death) -> Iterator[int]:
    """How a service may end that was sent SIGTERM."""
    yield 0
    yield EXIT_STATUS  # a node ended it while it drained
    if not death.service.log:
        yield -SIGTERM  # Python had not started it yet: nobody listened for the signal
