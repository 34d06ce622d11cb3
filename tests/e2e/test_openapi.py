"""What the API says of itself: nothing that the reference server has is missing without a word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

REFERENCE = Path(__file__).parent / "reference" / "operations.json"
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"
METHODS = ("get", "put", "post", "patch", "delete")


def plain(operation: str) -> str:
    """Parameters go by other names elsewhere, and a slash at the end says nothing."""
    return re.sub(r"\{[^}]*\}", "{}", operation).rstrip("/")


def not_served() -> set[str]:
    """The operations that docs/compatibility.md names as missing, one a line."""
    return set(re.findall(r"^- `([A-Z]+ /\S*)`", COMPATIBILITY.read_text(encoding="utf-8"), re.M))


async def test_every_operation_of_the_reference_is_served_or_named_as_missing(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    # The description does not describe itself.
    ours = {f"{name.upper()} {path}" for path, item in paths.items() for name in item if name in METHODS}
    served = {plain(operation) for operation in ours | {"GET /docs", "GET /openapi.json"}}
    theirs: list[str] = json.loads(REFERENCE.read_text(encoding="utf-8"))

    missing = {operation for operation in theirs if plain(operation) not in served}

    named = not_served()
    assert missing - named == set(), "docs/compatibility.md has to name them, or the API to serve them"
    assert named - missing == set(), "docs/compatibility.md names what is served, or what nobody has"
