"""The same requests as to the reference server get the same answers, but for what is decided otherwise."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any, NamedTuple, cast

import pytest

from tests.e2e.reference.record import normal, played, recorded
from tests.e2e.reference.scenarios import GROUPS

SCENARIOS = [(group, name) for group, scenarios in GROUPS.items() for name in scenarios]


class Deviation(NamedTuple):
    """Where an answer of ours differs on purpose: `<group>/<scenario>/<place in the answer>`, with wildcards."""

    where: str
    why: str


DEVIATIONS: list[Deviation] = []
_MISSING = "<missing>"


def differences(theirs: Any, ours: Any, place: str) -> list[str]:
    """Each place at which two values differ, with both."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        one, other = cast("dict[str, Any]", theirs), cast("dict[str, Any]", ours)
        return [
            found
            for key in sorted(one.keys() | other.keys())
            for found in differences(one.get(key, _MISSING), other.get(key, _MISSING), f"{place}/{key}")
        ]
    if isinstance(theirs, list) and isinstance(ours, list):
        pairs = zip_longest(cast("list[Any]", theirs), cast("list[Any]", ours), fillvalue=_MISSING)
        return [found for n, pair in enumerate(pairs) for found in differences(*pair, f"{place}/{n}")]
    return [] if theirs == ours else [f"{place}: {theirs!r} -> {ours!r}"]


@pytest.mark.parametrize(("group", "name"), SCENARIOS, ids=[f"{group}-{name}" for group, name in SCENARIOS])
async def test_answers_as_the_reference_server_does(api_url: str, group: str, name: str) -> None:
    exchanges = await played(GROUPS[group][name], api_url)
    found = differences(recorded(group)[name], normal(exchanges), f"{group}/{name}")
    unexpected = [line for line in found if not any(fnmatchcase(line, each.where) for each in DEVIATIONS)]
    assert not unexpected, "\n" + "\n".join(unexpected)
    for exchange in exchanges:
        if exchange.names is not None:
            assert exchange.names in exchange.answer["detail"]
