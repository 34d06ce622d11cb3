"""Operations at the same moment: an order in which they could have come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from tests.chaos.thread.facts import Facts, expected
from tests.chaos.thread.model import ThreadModel
from tests.chaos.thread.operations import Operation


def serial(
    model: ThreadModel, operations: Sequence[Operation], answers: Sequence[Any], facts: Facts
) -> ThreadModel:
    """The model after an order of the operations that explains all answers, and what Postgres has now.

    Raises:
        AssertionError: there is no such order.
    """
    for order in permutations(range(len(operations))):
        tried = model.copy()
        told = {place: operations[place].expect(tried) for place in order}
        if all(told[place] == answers[place] for place in order) and _explains(tried, facts):
            return tried
    raise AssertionError(f"no order explains {list(zip(operations, answers, strict=True))}")


def _explains(model: ThreadModel, facts: Facts) -> bool:
    return facts.seen == expected(model) and facts.kept == model.kept
