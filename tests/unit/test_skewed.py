"""A host whose clock is wrong is one only as long as every place that asks for the time is known (tests/chaos/skewed.py)."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.skewed import ASKING

ROOT = Path(__file__).parents[2]
FOLDERS = tuple(ROOT / name for name in ("shared", "services/api", "services/worker", "services/scheduler"))
# What of LangGraph makes the times and ids of checkpoints.
LIBRARY = ("langgraph.checkpoint", "langgraph.pregel")
# These run on the user's machine, or only show since when something has been there.
ELSEWHERE = {
    "treadle.cli.cron_table",
    "treadle.cli.deadletter_view",
    "treadle.cli.keys_view",
    "treadle.operations.dead_letters",
    "treadle_api.bus.micro",
}
# The time of a step's attempt, for its node to see, and of an event for debugging; tests.
SHOWN = {"langgraph.pregel._retry", "langgraph.pregel._loop", "langgraph.checkpoint.conformance.test_utils"}


def modules(folder: Path, package: str = "") -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        name = ".".join(part for part in (package, *parts) if part and part != "__init__")
        yield name, ast.parse(file.read_text(encoding="utf-8"))


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        yield from modules(folder)
    for package in LIBRARY:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            yield from modules(Path(folder), package)


def asks(module: ast.Module) -> bool:
    """Whether it calls `datetime.now` or its like; `time.time()` is moved for everybody."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and ast.unparse(node.value).endswith(("datetime", "date"))
        for node in ast.walk(module)
    )


def keeps(module: ast.Module) -> bool:
    """Whether it has the clock under a name of its own, which nobody can move."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "time"
        and {"time", "time_ns"} & {name.name for name in node.names}
        for node in ast.walk(module)
    )


def test_every_module_that_asks_for_the_time_of_day_is_told_the_wrong_one() -> None:
    asking = {name for name, module in sources() if asks(module)}
    assert asking - ELSEWHERE - SHOWN == set(ASKING)


def test_no_module_keeps_the_clock_for_itself() -> None:
    assert [name for name, module in sources() if keeps(module)] == []
