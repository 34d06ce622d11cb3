"""The page of promises names only what there is: a promise whose test has gone is a promise no more."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest
from bench import recovery

from tests.chaos import report as chaos
from treadle.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([^`\n]+)`", PAGE)
TESTS_NAMED = [name for name in NAMED if "::" in name]
PREFIXES = ("TREADLE_", "BG_JOB_", "N_JOBS_")


def functions_of(file: Path) -> set[str]:
    """The names of the functions of a module, without running any of it."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_test_that_the_page_names_exists() -> None:
    missing: list[str] = []
    for name in TESTS_NAMED:
        path, _, test = name.partition("::")
        if not (ROOT / path).is_file() or test not in functions_of(ROOT / path):
            missing.append(name)
    assert len(TESTS_NAMED) > 10
    assert missing == []


def test_every_promise_names_a_test() -> None:
    promises = PAGE.partition("## What is promised")[2].partition("## What is not promised")[0]
    promised = re.findall(r"^\| (\d+) \|", promises, re.MULTILINE)
    tests = PAGE.partition("## The tests of each promise")[2]
    defended = re.findall(r"^ ?(\d+)\. `tests/[^`]+::test_\w+`", tests, re.MULTILINE)
    assert promised == defended == [str(number) for number in range(1, len(promised) + 1)]
    assert len(promised) > 10


def test_every_file_that_the_page_names_exists() -> None:
    folders = ("tests/", "bench/", "docs/", "shared/", "services/", "infra/", ".ci/")
    files = {name.partition("::")[0] for name in NAMED if name.startswith(folders)}
    linked = {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)", PAGE)}
    assert {name for name in files | linked if not (ROOT / name).exists()} == set()


def test_every_setting_that_the_page_names_exists() -> None:
    settings = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    named = {name.partition("=")[0] for name in NAMED if name.startswith(PREFIXES)}
    assert named - settings == set()


@pytest.mark.parametrize(
    ("begin", "end"), [(chaos.BEGIN, chaos.END), (recovery.BEGIN, recovery.END)], ids=["chaos", "recovery"]
)
def test_the_figures_have_their_place(begin: str, end: str) -> None:
    assert PAGE.count(begin) == PAGE.count(end) == 1
    assert PAGE.index(begin) < PAGE.index(end)


def test_every_variable_of_the_tests_is_named() -> None:
    read = {
        name
        for file in sorted((ROOT / "tests" / "chaos").glob("*.py"))
        for name in re.findall(r"\b(?:CHAOS|POISON)_[A-Z_]+\b", file.read_text(encoding="utf-8"))
    }
    assert read - {"CHAOS_WITNESS"} == set(re.findall(r"^\| `((?:CHAOS|POISON)_\w+)`", PAGE, re.MULTILINE))
