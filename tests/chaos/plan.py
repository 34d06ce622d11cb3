"""What a round does, all of it decided by its seed: the load of each thread, and which faults strike when."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from tests.chaos.fault import Fault
from tests.chaos.work import Work

How = Literal["create", "stream", "nats"]


@dataclass(frozen=True)
class Post:
    """Create a run. `pause`: seconds to wait before; `hang_ups`: after so many events a reader goes, and comes back."""

    pause: float
    work: Work
    how: How = "create"
    strategy: str = "enqueue"
    delay: int | None = None
    durability: str = "async"
    hang_ups: Sequence[int] = ()


@dataclass(frozen=True)
class Answer:
    """Answer the question of the run before, once it has ended with one."""

    pause: float
    durability: str = "async"


@dataclass(frozen=True)
class Cancel:
    """Cancel the newest run that this client has created."""

    pause: float
    action: Literal["interrupt", "rollback"]
    wait: bool


@dataclass(frozen=True)
class Join:
    """Wait for the result of the newest run."""

    pause: float


Act = Post | Answer | Cancel | Join


@dataclass(frozen=True)
class Script:
    """What happens on one thread: each client does its acts one after the other, the clients side by side."""

    thread_id: str
    clients: Sequence[Sequence[Act]]


@dataclass(frozen=True)
class Scale:
    """How much of everything: `make chaos` and `make test` differ in this."""

    threads: int = 100
    load_secs: float = 30.0
    outage_secs: float = 60.0
    rest_secs: float = 60.0


@dataclass(frozen=True)
class Strike:
    """`at`: seconds after the load has begun."""

    at: float
    fault: Fault


def scripts(seed: int, scale: Scale) -> list[Script]:
    return [_script(random.Random(f"{seed}/thread/{n}"), n, scale.load_secs) for n in range(scale.threads)]


def _script(chance: random.Random, n: int, secs: float) -> Script:
    thread_id = str(UUID(int=chance.getrandbits(128), version=4))
    kind = KINDS[n % len(KINDS)]
    clients = 2 if kind in (queueing, competing) else 1
    acts = [list(kind(chance, secs)) for _ in range(clients)]
    return Script(thread_id, acts)


def durability(chance: random.Random) -> str:
    return chance.choice(["sync", "sync", "async", "async", "exit"])


def pauses(chance: random.Random, count: int, secs: float) -> list[float]:
    """So many pauses that fill the time, of very different lengths."""
    moments = sorted(chance.uniform(0, secs) for _ in range(count))
    return [moment - before for before, moment in zip([0.0, *moments], moments, strict=False)]


def short(chance: random.Random) -> Work:
    return Work(chance.randint(1, 3), chance.choice([0.0, 0.02, 0.1, 0.3]), chance.choice([0, 1, 3]))


def queueing(chance: random.Random, secs: float) -> list[Act]:
    """Short runs behind each other, some of them for later, some asked for over NATS, some that fail."""
    acts: list[Act] = []
    for pause in pauses(chance, 4, secs):
        work = short(chance)
        if chance.random() < 0.1:
            work = Work(work.steps, work.secs, work.events, harm="fail")
        how: How = "nats" if chance.random() < 0.15 else "create"
        delay = chance.choice([1, 2, 3]) if how == "create" and chance.random() < 0.15 else None
        acts.append(Post(pause, work, how, delay=delay, durability=durability(chance)))
    return acts


def streaming(chance: random.Random, secs: float) -> list[Act]:
    """Runs that are read as they go, by a client that hangs up and comes back elsewhere."""
    acts: list[Act] = []
    for pause in pauses(chance, 4, secs * 0.6):
        work = Work(chance.randint(2, 4), chance.choice([0.2, 0.5, 1.0]), chance.choice([3, 10, 30]))
        hang_ups = sorted(chance.randint(1, work.steps * work.events) for _ in range(chance.randint(0, 3)))
        acts.append(Post(pause / 2, work, "stream", durability=durability(chance), hang_ups=hang_ups))
    return acts


def asking(chance: random.Random, secs: float) -> list[Act]:
    """Runs that stop to ask, and the answers."""
    acts: list[Act] = []
    for pause in pauses(chance, 3, secs * 0.7):
        steps = chance.randint(1, 4)
        work = Work(steps, chance.choice([0.0, 0.1, 0.4]), 2, ask=chance.randrange(steps))
        acts += [Post(pause / 2, work, durability=durability(chance)), Answer(pause / 2, durability(chance))]
        acts.append(Join(0))
    return acts


def competing(chance: random.Random, secs: float) -> list[Act]:
    """Runs of all strategies, from two clients at once."""
    acts: list[Act] = []
    for pause in pauses(chance, 4, secs):
        work = Work(chance.randint(1, 3), chance.choice([0.1, 0.5, 1.0]), 1)
        strategy = chance.choice(["interrupt", "rollback", "reject", "enqueue"])
        acts.append(Post(pause, work, strategy=strategy, durability=durability(chance)))
    return acts


def cancelling(chance: random.Random, secs: float) -> list[Act]:
    """Runs that are cancelled: before they begin, on their way, as they end."""
    acts: list[Act] = []
    for pause in pauses(chance, 6, secs * 0.8):
        work = Work(chance.randint(1, 4), chance.choice([0.1, 0.4, 1.0]), 1)
        acts.append(Post(pause, work, durability=durability(chance)))
        if chance.random() < 0.75:
            wait = chance.random() < 0.3
            after = chance.choice([0.0, 0.05, chance.uniform(0, work.steps * work.secs)])
            acts.append(Cancel(after, chance.choice(["interrupt", "rollback"]), wait))
    return acts


def lasting(chance: random.Random, secs: float) -> list[Act]:
    """Runs of seconds, in many steps."""
    acts: list[Act] = []
    for pause in pauses(chance, 3, secs * 0.5):
        work = Work(chance.randint(4, 8), chance.uniform(0.3, 1.0), 2)
        acts.append(Post(pause, work, durability=durability(chance)))
    return acts


Kind = Callable[[random.Random, float], list[Act]]
# Twenty threads, five times over.
KINDS: Sequence[Kind] = (
    *[queueing] * 6,
    *[streaming] * 4,
    *[asking] * 3,
    *[competing] * 3,
    *[cancelling] * 2,
    *[lasting] * 2,
)
