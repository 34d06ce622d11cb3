"""Which faults strike in which round: dealt so that a campaign of twenty rounds strikes each of them at least once.

All follows from the round's seed, so that a round can be played again by itself. Seeds that follow each other belong to
one campaign: the seed divided by twenty says which, the rest is the round's place in it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from tests.chaos.fault import Fault
from tests.chaos.faults import network, processes, servers
from tests.chaos.faults.network import Spoilt
from tests.chaos.faults.servers import Outage
from tests.chaos.plan import Scale, Strike

ROUNDS = 20
# These last as long as the site's long outages; what else lasts, lasts some seconds: several leases.
LONG = frozenset({"NATS: away", "Postgres: read-only", "Redis: away"})
SHORT_SECS = (3.0, 10.0)
FAULTS: Sequence[Fault] = (*processes.FAULTS, *servers.FAULTS, *network.FAULTS)
# The load gets under way before the first fault strikes; the last one leaves it some time.
QUIET_SECS = 2.0
# Faults of a round besides those that were dealt to it, from the ones that are over at once.
MORE = 5
TOGETHER = 0.4


def deal(seed: int, scale: Scale, faults: Sequence[Fault] = FAULTS) -> list[Strike]:
    chance = random.Random(f"{seed}/faults")
    dealt = [_lasting(chance, fault) for fault in _dealt(seed, faults)]
    chosen = [*dealt, *chance.choices(processes.FAULTS, k=MORE)]
    chance.shuffle(chosen)
    return _timed(chance, chosen, scale.load_secs)


def _dealt(seed: int, faults: Sequence[Fault]) -> list[Fault]:
    """This round's share of all faults, which are dealt anew, in another order, to each campaign."""
    campaign, place = divmod(seed, ROUNDS)
    deck = list(faults)
    random.Random(f"{campaign}/deck").shuffle(deck)
    return deck[place::ROUNDS]


def _lasting(chance: random.Random, fault: Fault) -> Fault:
    if isinstance(fault, Outage | Spoilt) and fault.secs is None and fault.name not in LONG:
        return replace(fault, secs=chance.uniform(*SHORT_SECS))
    return fault


def _timed(chance: random.Random, faults: Sequence[Fault], secs: float) -> list[Strike]:
    """Spread over the load; some of them strike together with the one before."""
    moments = sorted(chance.uniform(QUIET_SECS, secs * 0.9) for _ in faults)
    for n in range(1, len(moments)):
        if chance.random() < TOGETHER:
            moments[n] = moments[n - 1] + chance.uniform(0, 0.5)
    return [Strike(at, fault) for at, fault in zip(moments, faults, strict=True)]
