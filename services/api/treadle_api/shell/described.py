"""What the user's app says of itself, beside what the server does: one OpenAPI document of both."""

from __future__ import annotations

import logging
from typing import Any, cast

from treadle_api.shell.custom import META

log = logging.getLogger(__name__)

Document = dict[str, Any]
SCHEMAS = "#/components/schemas/"


def described(app: Any | None) -> Document | None:
    """An app's own document, if it is of a framework that makes one (FastAPI)."""
    make = getattr(app, "openapi", None)
    if not callable(make):
        return None
    try:
        return cast(Document, make())
    except Exception:
        log.exception("the app of langgraph.json cannot describe itself; /openapi.json leaves it out")
        return None


def add(ours: Document, theirs: Document) -> None:
    """Put another document into ours: its paths stand above ours, as its routes do; its schemas keep clear of ours."""
    paths = {path: item for path, item in theirs.get("paths", {}).items() if path not in META}
    found: Document = theirs.get("components", {}).get("schemas", {})
    schemas = ours["components"]["schemas"]
    names = {name: _free(name, schemas) for name in found}
    for path, item in paths.items():
        ours["paths"][path] = {**ours["paths"].get(path, {}), **_renamed(item, names)}
    schemas.update({names[name]: _renamed(schema, names) for name, schema in found.items()})


def _free(name: str, taken: Document) -> str:
    return _free(f"{name}_", taken) if name in taken else name


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The same with its references to schemas under their new names."""
    if isinstance(value, list):
        return [_renamed(each, names) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    node = {key: _renamed(each, names) for key, each in cast(Document, value).items()}
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith(SCHEMAS):
        name = reference.removeprefix(SCHEMAS)
        node["$ref"] = SCHEMAS + names.get(name, name)
    return node
