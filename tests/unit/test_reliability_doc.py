"""The page of promises names only what there is: a promise whose test has gone is a promise no more."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec

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
    rows = [line for line in promises.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| promise |", "| --- |"))]
    assert [row for row in rows if not re.search(r"`tests/[^`]+::test_\w+`", row)] == []


def test_every_file_that_the_page_names_exists() -> None:
    folders = ("tests/", "bench/", "docs/", "shared/", "services/", "infra/", ".ci/")
    files = {name.partition("::")[0] for name in NAMED if name.startswith(folders)}
    linked = {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)", PAGE)}
    assert {name for name in files | linked if not (ROOT / name).exists()} == set()


def test_every_setting_that_the_page_names_exists() -> None:
    settings = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    named = {name.partition("=")[0] for name in NAMED if name.startswith(PREFIXES)}
    assert named - settings == set()


def test_the_figures_have_their_place() -> None:
    assert PAGE.count("<!-- chaos:begin -->") == PAGE.count("<!-- chaos:end -->") == 1
    assert PAGE.index("<!-- chaos:begin -->") < PAGE.index("<!-- chaos:end -->")
