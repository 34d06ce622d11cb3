"""Which faults a campaign of rounds plays, and when."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.deck import FAULTS, ROUNDS, deal
from tests.chaos.plan import Scale, Strike

CAMPAIGNS = range(5)
# Faults that begin so close to each other are on at the same time: the next one comes before the first is over.
TOGETHER_SECS = 0.5
# By chance alone, of strikes that know nothing of each other, it would be about half as many.
PAIRS = 50


def campaign(number: int) -> list[list[Strike]]:
    return [deal(number * ROUNDS + place, Scale()) for place in range(ROUNDS)]


@pytest.mark.parametrize("number", CAMPAIGNS)
def test_every_fault_strikes_in_every_campaign(number: int) -> None:
    struck = Counter(strike.fault.name for strikes in campaign(number) for strike in strikes)
    assert set(struck) == {fault.name for fault in FAULTS}


@pytest.mark.parametrize("number", CAMPAIGNS)
def test_faults_strike_two_at_a_time(number: int) -> None:
    """Pairs of all kinds do, and more of them than by chance."""
    pairs = [
        (one.fault.name, other.fault.name)
        for strikes in campaign(number)
        for one, other in pairwise(sorted(strikes, key=lambda strike: strike.at))
        if other.at - one.at <= TOGETHER_SECS
    ]
    assert len(set(pairs)) >= PAIRS


def test_a_round_is_the_same_each_time() -> None:
    assert deal(123_456, Scale()) == deal(123_456, Scale())
