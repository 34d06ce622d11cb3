"""Rows into domain values."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from treadle.model import CancelAction, MultitaskStrategy, Record, RunStatus

R = TypeVar("R", bound=Record)

_ENUMS: dict[str, dict[str, Any]] = {
    "Run": {"status": RunStatus, "cancel_action": CancelAction, "multitask_strategy": MultitaskStrategy},
}


class Row(Protocol):
    """A row, or the composite value of one."""

    def __getitem__(self, name: str, /) -> Any: ...


def read(kind: type[R], row: Row) -> R:
    """Build a domain value from a row that has (at least) its columns.

    The database's constraints vouch for the types, so nothing is validated twice.
    """
    enums = _ENUMS.get(kind.__name__, {})
    values = {name: row[name] for name in kind.__struct_fields__}
    for name, enum in enums.items():
        if values[name] is not None:
            values[name] = enum(values[name])
    return kind(**values)
