"""What a request may see: the rows of its tenant whose metadata pass a filter. Every statement for a client takes one.

What it means is in migrations/0023_tenants.sql; `Scope.sees` says the same of a row that has been read already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from treadle import json
from treadle.model import DEFAULT_TENANT

Operator = Literal["eq", "contains"]
Condition = tuple[str, Operator, Any]


class Scope(NamedTuple):
    """A tenant, and conditions on metadata as JSON; as the last parameters of a statement.

    `tenant` None: of all, for what the services do by themselves. `conditions` None: whatever the metadata.
    """

    tenant: str | None
    conditions: str | None = None

    @classmethod
    def of(cls, tenant: str, conditions: list[Condition]) -> Scope:
        """The rows of a tenant whose metadata meet all conditions."""
        return cls(tenant, json.jsonb_text(json.encode(conditions)) if conditions else None)

    def sees(self, tenant: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a row is within."""
        if self.tenant is not None and tenant != self.tenant:
            return False
        conditions: list[Condition] = [] if self.conditions is None else json.decode(self.conditions.encode())
        return all(_met(metadata, key, operator, value) for key, operator, value in conditions)


EVERYWHERE = Scope(None)
DEFAULT = Scope(DEFAULT_TENANT)

# Of a thread `t`, an assistant or a cron: placeholders for the numbers of the two parameters.
SEES = "treadle.sees(${0}, ${1}::text::jsonb, {2}tenant, {2}metadata)"


def sees(first: int, table: str = "") -> str:
    """The condition on a row, whose scope is the parameters `first` and `first + 1` of the statement.

    Args:
        table: by which the row is known in the statement; empty: it is the only one.
    """
    return SEES.format(first, first + 1, f"{table}." if table else "")


def readable(first: int) -> str:
    """The condition on an assistant `a` that whoever asks may read: one of its tenant, or one that all tenants share."""
    return f"treadle.sees(case when not a.shared then ${first} end, ${first + 1}::text::jsonb, a.tenant, a.metadata)"


def _met(metadata: Mapping[str, Any], key: str, operator: Operator, value: Any) -> bool:
    if key not in metadata:
        return False
    found = metadata[key]
    if operator == "eq":
        return found == value and isinstance(found, bool) == isinstance(value, bool)
    return isinstance(found, list) and all(each in found for each in value)
