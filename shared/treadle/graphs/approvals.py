"""The `approvals` section of langgraph.json: who may answer which questions of graphs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from treadle.errors import ConfigError

ABOUT = ("graphs", "interrupts")
WHO = ("users", "roles", "permissions", "tenants", "owner")


class ApprovalRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. What is None says nothing; of a list, one has to fit.

    Args:
        graphs, interrupts: which questions it is about: those of these graphs, those of these types.
        users, roles, permissions, tenants: who may answer them; all that are given have to fit.
        owner: whether it has to be whoever made the thread (True), or must not be (False).
    """

    graphs: list[str] | None = None
    interrupts: list[str] | None = None
    users: list[str] | None = None
    roles: list[str] | None = None
    permissions: list[str] | None = None
    tenants: list[str] | None = None
    owner: bool | None = None

    def is_about(self, graphs: Collection[str], kind: str) -> bool:
        of_graph = self.graphs is None or any(graph in self.graphs for graph in graphs)
        return of_graph and (self.interrupts is None or kind in self.interrupts)

    def told(self) -> str:
        """Whom it lets answer, in words."""
        said = [
            f"{name} {', '.join(given)}" for name in WHO[:-1] if (given := getattr(self, name)) is not None
        ]
        if self.owner is not None:
            said.append("the owner of the thread" if self.owner else "anybody but the owner of the thread")
        return " with ".join(said)


def checked_approvals(
    path: Path, rules: Sequence[ApprovalRule], graphs: Collection[str]
) -> Sequence[ApprovalRule]:
    """The section, if every rule says who, and names what there is.

    Raises:
        ConfigError: one does not.
    """
    for place, rule in enumerate(rules):
        where = f"{path}: `approvals[{place}]`"
        if all(getattr(rule, name) is None for name in WHO):
            raise ConfigError(
                f"{where} does not say who may answer: give it one or more of {', '.join(WHO)}."
            )
        for name in (*ABOUT, *WHO[:-1]):
            if getattr(rule, name) == []:
                raise ConfigError(
                    f"{where} has an empty `{name}`, which nobody fits. Leave it out, or fill it."
                )
        if unknown := sorted(set(rule.graphs or ()) - set(graphs)):
            raise ConfigError(
                f"{where} names the graph {unknown[0]!r} in `graphs`, which is none of this file's: "
                f"{', '.join(sorted(graphs))}."
            )
    return rules
