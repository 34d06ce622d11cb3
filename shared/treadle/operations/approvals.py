"""Approvals: who may answer the questions at which graphs stop, as `approvals` of langgraph.json has it.

Asked twice. Where a run is accepted, for the questions that wait then, so that whoever may not answer hears so at once; and where a worker
is about to give the answer, for those that it would be given to: a run that waited behind another may meet other questions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
from langgraph.types import Interrupt

from treadle import json
from treadle.db.audit import AuditRows, Given, Waiting
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, postgres_errors
from treadle.errors import Forbidden
from treadle.graphs.approvals import ApprovalRule
from treadle.identity.user import USER
from treadle.model import Run
from treadle.operations.asking import Asking


class Answerer(msgspec.Struct, frozen=True):
    """Who wants to answer. `identity` None: nobody who has proved who it is."""

    tenant: str
    identity: str | None
    roles: Sequence[str] = ()
    permissions: Sequence[str] = ()

    @classmethod
    def of(cls, tenant: str, user: Mapping[str, Any] | None) -> Answerer:
        """From the user as graphs see it; `roles` is a list, or words."""
        if user is None:
            return cls(tenant, None)
        return cls(tenant, user["identity"], _words(user.get("roles")), _words(user.get("permissions")))

    def gave(self, thread_id: UUID, waiting: Waiting, answer: Any) -> Given:
        """What they want to answer, for the record."""
        return Given(
            tenant=self.tenant,
            identity=self.identity,
            roles=self.roles,
            permissions=self.permissions,
            thread_id=thread_id,
            graph_id=waiting.graph_id,
            questions=waiting.interrupts,
            answer=answer,
        )


class Approvals:
    """Keeps to the rules.

    Args:
        rules: at least one.
    """

    def __init__(self, rules: Sequence[ApprovalRule], pool: Pool) -> None:
        self._rules = rules
        self._rows = AuditRows(pool)

    @classmethod
    def of(cls, rules: Sequence[ApprovalRule], pool: Pool) -> Approvals | None:
        """None: there are no rules, and nothing is looked at."""
        return cls(rules, pool) if rules else None

    async def check_run(self, asking: Asking, row: NewRun) -> None:
        """Let a new run pass that answers nothing, or only what its sender may answer.

        A command that goes elsewhere or changes the state is an answer too: it leads past the questions that wait.

        Raises:
            Forbidden: it answers something else; that is recorded.
            Unavailable: Postgres cannot be reached.
        """
        command = cast("dict[str, Any] | None", row.kwargs.get("command"))
        if not command:
            return
        with postgres_errors("looking at the questions of a thread"):
            waiting = await self._rows.waiting(row.scope, row.thread_id)
        if waiting is None:
            return
        questions = answered(waiting.interrupts.values(), command)
        await self._check(asking, waiting, row.thread_id, questions, {row.graph_id}, command)

    async def check_update(self, asking: Asking, thread_id: UUID, waiting: Waiting, values: Any) -> None:
        """Let a state be changed from outside, which leads past all questions that wait on the thread. Raises as `check_run` does."""
        questions = answered(waiting.interrupts.values(), {})
        await self._check(asking, waiting, thread_id, questions, set(), values)

    async def refusal(self, run: Run, interrupts: Iterable[Interrupt]) -> Forbidden | None:
        """Why a run may not give its answer to the questions that wait for it; None: it may."""
        command = cast("dict[str, Any] | None", run.kwargs.get("command"))
        if not command:
            return None
        known = [[{"id": each.id, "value": _plain(each.value)} for each in interrupts]]
        questions = answered(known, command)
        with postgres_errors("looking at the questions of a thread"):
            waiting = await self._rows.of_thread(run.thread_id)
        configurable = cast("dict[str, Any]", run.kwargs["config"].get("configurable") or {})
        user = configurable.get(USER) if run.kwargs.get("authenticated") else None
        answerer = Answerer.of(run.tenant, user)
        return self._refusal(answerer, waiting.owner, {run.graph_id, *waiting.graphs}, questions)

    async def _check(
        self,
        asking: Asking,
        waiting: Waiting,
        thread_id: UUID,
        questions: Sequence[dict[str, Any]],
        graphs: Collection[str],
        answer: Any,
    ) -> None:
        answerer = Answerer.of(asking.tenant, asking.user)
        graphs = {*graphs, *waiting.graphs}
        refusal = self._refusal(answerer, waiting.owner, graphs, questions)
        if refusal is None:
            return
        with postgres_errors("recording a refusal"):
            await self._rows.refused(answerer.gave(thread_id, waiting, answer))
        raise refusal

    def _refusal(
        self,
        answerer: Answerer,
        owner: str | None,
        graphs: Collection[str],
        questions: Sequence[dict[str, Any]],
    ) -> Forbidden | None:
        for kind in (kind for question in questions for kind in kinds_of(question["value"])):
            rules = [rule for rule in self._rules if rule.is_about(graphs, kind)]
            if rules and not any(lets(rule, answerer, owner) for rule in rules):
                whom = "; or by ".join(rule.told() for rule in rules)
                who = (
                    "whoever has not proved who it is"
                    if answerer.identity is None
                    else repr(answerer.identity)
                )
                return Forbidden(
                    f"This question{f' of the type {kind!r}' if kind else ''} may not be answered by {who}: `approvals` of langgraph.json "
                    f"leaves it to be answered by {whom}."
                )
        return None


def lets(rule: ApprovalRule, answerer: Answerer, owner: str | None) -> bool:
    """Whether a rule lets somebody answer, on a thread of that owner (None: nobody knows whose it is)."""
    if answerer.identity is None and (rule.users, rule.roles, rule.permissions, rule.owner) != (None,) * 4:
        return False
    if rule.owner is not None and (owner is None or (answerer.identity == owner) != rule.owner):
        return False
    return (
        (rule.users is None or answerer.identity in rule.users)
        and (rule.tenants is None or answerer.tenant in rule.tenants)
        and (rule.roles is None or not set(rule.roles).isdisjoint(answerer.roles))
        and (rule.permissions is None or not set(rule.permissions).isdisjoint(answerer.permissions))
    )


def answered(waiting: Iterable[Sequence[dict[str, Any]]], command: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The questions that a command answers: those that it names by their ids, or else all that wait."""
    questions = [question for of_task in waiting for question in of_task]
    resume = command.get("resume")
    if not isinstance(resume, Mapping) or command.get("goto") or command.get("update"):
        return questions
    named = cast("Mapping[str, Any]", resume)
    ids = {question["id"] for question in questions}
    return [q for q in questions if q["id"] in named] if named and ids.issuperset(named) else questions


def kinds_of(value: Any) -> list[str]:
    """The types of a question: its `type`, or the names of the actions that it asks about; "" if it says nothing of that."""
    if isinstance(value, list) and value:
        return [kind for each in cast("list[Any]", value) for kind in kinds_of(each)]
    if not isinstance(value, dict):
        return [""]
    said = cast("dict[str, Any]", value)
    if isinstance(said.get("type"), str):
        return [said["type"]]
    several = said.get("action_requests")
    if isinstance(several, list) and several:
        return [_named(each, "name") for each in cast("list[Any]", several)]
    return [_named(said.get("action_request"), "action")]


def _named(action: Any, key: str) -> str:
    name = cast("dict[str, Any]", action).get(key) if isinstance(action, dict) else None
    return name if isinstance(name, str) else ""


def _words(said: Any) -> list[str]:
    if isinstance(said, str):
        return said.split()
    return (
        [word for word in cast("list[Any]", said) if isinstance(word, str)]
        if isinstance(said, list | tuple)
        else []
    )


def _plain(value: Any) -> Any:
    """As it is kept with the thread."""
    return json.decode(json.encode(value))
