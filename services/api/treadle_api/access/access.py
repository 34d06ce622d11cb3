"""One request's way to everything: each operation asks here whether it may, and gets the scope that it may work in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.new_run import NewRun
from treadle.db.scope import Condition, Scope
from treadle.identity import Identity, user_of
from treadle.identity.caller import Caller, Permission, checked_tenant
from treadle.model import DEFAULT_TENANT
from treadle.operations.asking import Asking
from treadle_api.access.permissions import Action, Resource, check, needed
from treadle_api.access.rules import Rules

# Everybody, where nobody has to say who it is.
ANYBODY = Caller(identity="")


class Access(Asking):
    """What the sender of a request may do.

    Args:
        caller: who it is.
        rules: those of langgraph.json's `auth`; None: there are none, and permissions decide alone.
        known: whether the caller has proved who it is, and runs are told of it.
    """

    def __init__(self, caller: Caller, rules: Rules | None = None, *, known: bool = True) -> None:
        super().__init__(caller.tenant, user_of(caller) if known else None)
        self.caller = caller
        self._rules = rules

    async def allow(
        self,
        resource: Resource,
        action: Action,
        value: dict[str, Any],
        *,
        needs: Permission | None = None,
    ) -> Scope:
        """Ask whether an action may be done; returns what it may be done to.

        Args:
            value: what is asked for, as handlers of `langgraph_sdk.Auth` know it. They may change it in place.
            needs: the permission for it, where it is another one than that of the action.

        Raises:
            Forbidden: it may not.
        """
        check(self.caller, needs or needed(resource, action))
        return Scope.of(self.tenant, await self._conditions(resource, action, value))

    async def _conditions(self, resource: Resource, action: Action, value: dict[str, Any]) -> list[Condition]:
        if self._rules is None:
            return []
        return await self._rules.ask(self.user or {}, resource, action, value)

    async def assistants(self, assistant_id: UUID) -> Scope:
        """Which assistants may be run; the caller need not be one who reads them."""
        value = {"assistant_id": assistant_id}
        return Scope.of(self.tenant, await self._conditions("assistants", "read", value))

    async def may_run(self, new: NewRun) -> NewRun:
        """A run as it may be made: what the rules have changed of it is its own, and what they filter by, a new thread's."""
        if answers(new.kwargs):
            check(self.caller, Permission.RESUME)
        value = _value(new)
        check(self.caller, Permission.RUN)
        conditions = await self._conditions("threads", "create_run", value)
        equal = {key: wanted for key, operator, wanted in conditions if operator == "eq"}
        metadata: dict[str, Any] = value["metadata"] or {}
        added = {key: given for key, given in metadata.items() if new.metadata.get(key) != given}
        new.kwargs["config"]["metadata"] |= added
        return self.named(
            msgspec.structs.replace(
                new,
                scope=Scope.of(self.tenant, conditions),
                metadata={**new.metadata, **metadata},
                thread_metadata={**equal, **new.thread_metadata},
            )
        )


OPEN = Access(ANYBODY, known=False)


def access_for(identity: Identity | None, rules: Rules | None) -> Access:
    """What a service may do that has proved over NATS for whom it asks; one that need not, and does not, is the operator's own.

    Raises:
        Unauthorized: its tenant's name cannot be used.
    """
    if identity is None:
        return OPEN
    tenant = DEFAULT_TENANT if identity.tenant is None else checked_tenant(identity.tenant)
    return Access(Caller(identity=identity.user, tenant=tenant), rules)


def answers(kwargs: Mapping[str, Any]) -> bool:
    """Whether a run answers a question of its thread."""
    return (kwargs.get("command") or {}).get("resume") is not None


def _value(new: NewRun) -> dict[str, Any]:
    """A new run as handlers of `langgraph_sdk.Auth` know it."""
    return {
        "thread_id": None if new.stateless else new.thread_id,
        "assistant_id": new.assistant_id,
        "run_id": new.run_id,
        "status": "pending",
        "metadata": dict(new.metadata),
        "prevent_insert_if_inflight": new.strategy == "reject",
        "multitask_strategy": str(new.strategy),
        "if_not_exists": new.if_not_exists,
        "after_seconds": new.delay_secs or 0,
        "kwargs": new.kwargs,
    }
