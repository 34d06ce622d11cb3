"""One bounded round of `make chaos`, with a seed of its own each time: what a broken promise prints says how to replay it."""

from __future__ import annotations

import random

import pytest

from tests.chaos.checks import violations
from tests.chaos.deck import deal
from tests.chaos.plan import Scale
from tests.chaos.replay import replay
from tests.chaos.round import Round, play
from tests.chaos.story import story_of

SCALE = Scale(threads=40, load_secs=8.0, outage_secs=6.0)


@pytest.mark.timeout(400)
async def test_a_round_of_mixed_load_under_faults_keeps_every_promise() -> None:
    seed = random.SystemRandom().randrange(20_000_000)
    print(replay(seed, SCALE))  # a round that does not come to its end has nothing else to show
    evidence = await play(Round(seed, SCALE, deal(seed, SCALE)))
    broken = list(violations(evidence))
    told = [line for violation in broken[:3] for line in (str(violation), *story_of(evidence, violation))]
    assert not broken, "\n".join([replay(seed, SCALE), *told])
