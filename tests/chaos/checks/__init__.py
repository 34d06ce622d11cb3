"""What must hold when a round is over; each check is one function, and its name is what is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.chaos.checks import cancels, leftovers, runs, services, steps, streams, threads
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence, Violation

Check = Callable[[Evidence], Iterable[Found]]

CHECKS: Sequence[Check] = (
    services.everything_comes_to_rest,
    services.clients_get_through,
    services.services_end_only_when_they_are_told_to,
    runs.accepted_runs_exist,
    runs.each_request_makes_one_run,
    runs.each_run_ends_once,
    runs.outcomes_are_what_the_graph_did,
    runs.seq_is_the_order_in_which_clients_were_answered,
    runs.threads_run_in_order,
    runs.lifecycle_events_tell_what_happened,
    steps.no_two_runs_of_a_thread_overlap,
    steps.no_step_begins_twice_in_an_attempt,
    steps.committed_steps_do_not_run_again,
    steps.sync_commits_before_the_next_step,
    steps.nothing_goes_on_when_its_worker_has_ended_an_attempt,
    steps.successful_runs_did_their_steps,
    steps.zombies_stop_soon,
    steps.nothing_is_written_after_an_attempt_is_over,
    steps.checkpoints_are_one_chain,
    cancels.accepted_cancels_are_obeyed,
    cancels.no_step_begins_long_after_a_cancel,
    streams.events_come_once_and_in_order,
    streams.resumed_streams_are_complete,
    streams.attempts_leave_no_gaps,
    threads.values_are_what_the_runs_made,
    threads.statuses_are_what_the_runs_say,
    leftovers.nothing_is_left,
)


def violations(evidence: Evidence) -> Iterator[Violation]:
    for check in CHECKS:
        for found in check(evidence):
            yield Violation(check.__name__.replace("_", " "), found.what, found.run_id, found.thread_id)
