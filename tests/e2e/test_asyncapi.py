"""docs/asyncapi.json: an AsyncAPI 3.0 document, and the one that the server's own types make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from jsonschema import Draft7Validator

from treadle_api.bus.asyncapi import document
from treadle_api.bus.endpoints import RUNS

ROOT = Path(__file__).parents[2]
SPECIFICATION = ROOT / "tests/js/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def plain() -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(document()))


def test_the_page_is_what_the_types_make() -> None:
    assert json.loads((ROOT / "docs/asyncapi.json").read_text()) == plain(), "run `make docs`"


def test_it_is_valid_by_the_specification() -> None:
    schema = json.loads(SPECIFICATION.read_text())
    errors = [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(plain())]
    assert not errors


def test_whatever_it_refers_to_is_there() -> None:
    whole = plain()
    for reference in _references(whole):
        found: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_each_endpoint_of_the_service_is_in_it() -> None:
    addresses = {channel["address"] for channel in plain()["channels"].values()}
    assert {f"treadle.api.runs.{name}" for name in RUNS} <= addresses


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in cast(dict[str, Any], part).items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in cast(list[Any], part):
            yield from _references(value)
