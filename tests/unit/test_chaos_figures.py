"""What a campaign of the chaos suite says of itself."""

from __future__ import annotations

import pytest

from tests.chaos.figures import Figures
from tests.chaos.report import KINDS, MIN_RUNS, Campaign, shortcomings

KILLED = "worker: kill -9"
HALF = Figures(accepted=MIN_RUNS // 2, kinds=dict.fromkeys(KINDS, 1), faults={KILLED: 1})


def campaign(*rounds: Figures) -> Campaign:
    return Campaign(date="2026-11-21", rounds=dict(enumerate(rounds)))


def test_a_campaign_of_enough_runs_of_all_kinds_whose_faults_hit_is_whole() -> None:
    assert not shortcomings(campaign(HALF, HALF))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Figures(accepted=1), "5001 runs were accepted, of 10000"),
        (Figures(accepted=MIN_RUNS, missed={"Redis: away": 1}), "Redis: away never hit anything"),
    ],
)
def test_what_it_lacks_is_said(other: Figures, said: str) -> None:
    assert shortcomings(campaign(HALF, other)) == [said]


def test_a_kind_of_request_that_nobody_made_is_said() -> None:
    assert shortcomings(campaign(Figures(accepted=MIN_RUNS, kinds=dict.fromkeys(KINDS - {"nats"}, 1)))) == [
        "nothing was accepted as 'nats'"
    ]


def test_a_fault_that_missed_once_and_hit_once_has_hit() -> None:
    assert not shortcomings(campaign(HALF, HALF, Figures(missed={KILLED: 1})))
