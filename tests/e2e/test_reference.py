"""The same requests as to the reference server get the same answers, but for what is decided otherwise."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import pytest

from tests.e2e.reference.deviations import DEVIATIONS, Deviation
from tests.e2e.reference.record import normal, played, recorded
from tests.e2e.reference.scenarios import GROUPS

SCENARIOS = [(group, name) for group, scenarios in GROUPS.items() for name in scenarios]
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"
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


@pytest.fixture(scope="module")
def met() -> set[tuple[str, str]]:
    """The patterns that some difference has matched, by their deviation; and the scenarios that were played."""
    return set()


@pytest.mark.parametrize(("group", "name"), SCENARIOS, ids=[f"{group}-{name}" for group, name in SCENARIOS])
async def test_answers_as_the_reference_server_does(
    api_url: str, met: set[tuple[str, str]], group: str, name: str
) -> None:
    exchanges = await played(GROUPS[group][name], api_url)
    unexpected: list[str] = []
    for found in differences(recorded(group)[name], normal(exchanges), f"{group}/{name}"):
        known = {
            (each.why, where) for each in DEVIATIONS for where in each.where if fnmatchcase(found, where)
        }
        met |= known
        if not known:
            unexpected.append(found)
    assert not unexpected, "\n" + "\n".join(unexpected)
    for exchange in exchanges:
        if exchange.names is not None:
            assert exchange.names in exchange.answer["detail"]
    met.add((group, name))


def test_every_deviation_is_still_there(met: set[tuple[str, str]]) -> None:
    if not met.issuperset(SCENARIOS):
        pytest.skip("not all scenarios were played")
    assert [where for each in DEVIATIONS for where in each.where if (each.why, where) not in met] == []


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda each: each.why[:30])
def test_every_deviation_is_documented(deviation: Deviation) -> None:
    assert deviation.why in " ".join(COMPATIBILITY.read_text(encoding="utf-8").split())
