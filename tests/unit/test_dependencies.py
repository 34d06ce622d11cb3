"""pyproject.toml declares what the code imports, and the locks hold what it declares, with hashes and no host."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
DEVELOPMENT: list[str] = PROJECT["dependency-groups"]["dev"]
BUILD: list[str] = PROJECT["dependency-groups"]["build"]


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name, in the spelling of the index."""
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def imported(*folders: str) -> Iterator[tuple[Path, str]]:
    """Each file with the name of each top-level package that it imports."""
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield file, node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folders", "declared"),
    [
        (("shared", "services", "examples"), names(RUNTIME)),
        (("tests",), names(RUNTIME + DEVELOPMENT)),
    ],
)
def test_every_package_that_is_imported_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    """One that only comes along with another may go with it."""
    distributions = packages_distributions()
    undeclared = {
        f"{file.relative_to(ROOT)}: {package}"
        for file, package in imported(*folders)
        if package not in sys.stdlib_module_names
        and package in distributions
        and not package.startswith("treadle")
        and not names(distributions[package]) & declared
    }

    assert undeclared == set()


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", RUNTIME + BUILD),
        ("requirements-dev.lock", RUNTIME + BUILD + DEVELOPMENT),
    ],
)
def test_the_locks_hold_what_is_declared_with_hashes_and_name_no_host(
    lock: str, requirements: list[str]
) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)

    assert names(requirements) <= names(pinned), "run `make lock`"
    assert len(pinned) == len(re.findall(r"^\w", text, re.MULTILINE))
    assert not re.search(r"://|--(extra-)?index|--find-links", text)
