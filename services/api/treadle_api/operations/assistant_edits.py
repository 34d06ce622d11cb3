"""Making, changing and removing assistants."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.assistants import AssistantFields, Assistants
from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE, Scope
from treadle.errors import Conflict, NotFound
from treadle.graphs.registry import Registry
from treadle.model import Assistant, CancelAction, default_assistant_id
from treadle.operations.asking import Asking
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.configs import either
from treadle.operations.missing import no_assistant
from treadle_api.bodies import assistants as bodies
from treadle_api.operations.graphs import Graphs
from treadle_api.operations.removal import Removal

# Threads that are looked up at once to be removed.
BATCH = 100


class AssistantEdits:
    """Changes what assistants there are. None is made whose graph cannot be opened."""

    def __init__(
        self,
        registry: Registry,
        graphs: Graphs,
        assistants: Assistants,
        choice: AssistantChoice,
        runs: Runs,
        removal: Removal,
        cancellation: Cancellation,
    ) -> None:
        self._registry = registry
        self._graphs = graphs
        self._assistants = assistants
        self._choice = choice
        self._runs = runs
        self._removal = removal
        self._cancellation = cancellation

    async def create(
        self, asking: Asking, scope: Scope, assistant_id: UUID, body: bodies.NewAssistant
    ) -> Assistant:
        """Make an assistant, or find the one that has its id already, if the client does not mind.

        Raises:
            NotFound: no graph has this id.
            InvalidRequest: config and context are both given, or the graph cannot be opened with them.
            Conflict: the id is taken.
        """
        fields = _fields(body, body.graph_id)
        await self._check(asking, body.graph_id, fields.config or {}, fields.context or {})
        with postgres_errors("creating an assistant"):
            assistant = await self._assistants.create(asking.tenant, assistant_id, fields)
            if assistant is None and body.if_exists == "do_nothing":
                assistant = await self._assistants.get(scope, assistant_id)
        if assistant is None:
            raise Conflict(
                f"Assistant {assistant_id} already exists. Choose another ID, or send `if_exists`: `do_nothing`."
            )
        return assistant

    async def patch(
        self, asking: Asking, scope: Scope, assistant_id: UUID, body: bodies.AssistantPatch
    ) -> Assistant:
        """Change an assistant, which makes a new version of it.

        Raises:
            NotFound: no such assistant or graph.
            InvalidRequest: as for `create`.
        """
        fields = _fields(body, body.graph_id)
        present = await self._choice.read(scope, str(assistant_id))
        if body.graph_id is not None or fields.config is not None or fields.context is not None:
            config = present.config if fields.config is None else fields.config
            context = present.context if fields.context is None else fields.context
            graph_id = present.graph_id if fields.graph_id is None else fields.graph_id
            await self._check(asking, graph_id, config, context)
        with postgres_errors("changing an assistant"):
            assistant = await self._assistants.patch(scope, assistant_id, fields)
        return self._changed(assistant_id, assistant)

    async def set_latest(self, scope: Scope, assistant_id: UUID, version: int) -> Assistant:
        """Make an assistant again what it was at a version.

        Raises:
            NotFound: no such assistant, or it has no such version.
        """
        await self._choice.read(scope, str(assistant_id))
        with postgres_errors("changing an assistant"):
            assistant = await self._assistants.set_latest(scope, assistant_id, version)
        if assistant is None:
            raise NotFound(
                f"Version {version} not found for assistant {assistant_id}. "
                f"POST /assistants/{assistant_id}/versions lists those that there are."
            )
        return self._changed(assistant_id, assistant)

    async def delete(self, scope: Scope, threads_scope: Scope, assistant_id: UUID, *, threads: bool) -> None:
        """Remove an assistant with its versions; the runs of it that wait or are on are interrupted.

        Args:
            threads_scope: which threads may be removed with it.
            threads: remove the threads too whose metadata name it, first: what fails half-way can be repeated.

        Raises:
            NotFound: there is no such assistant.
            Conflict: it is the default assistant of a graph, which every start of the API would make anew.
        """
        if (graph_id := self._graph_of_default(assistant_id)) is not None:
            raise Conflict(
                f"Assistant {assistant_id} is the default of the graph {graph_id!r} and stays as long as that is served. "
                "Take the graph out of langgraph.json, or change the assistant instead."
            )
        await self._choice.read(scope, str(assistant_id))
        if threads:
            await self._remove_threads(threads_scope, assistant_id)
        with postgres_errors("removing an assistant"):
            removed = await self._assistants.delete(scope, assistant_id)
            active = await self._runs.active_of(assistant_id)
        self._choice.forget(assistant_id)
        if not removed:
            raise no_assistant(assistant_id)
        for run in active:
            with suppress(NotFound):  # it has ended in between
                await self._cancellation.cancel(EVERYWHERE, run.thread_id, run.run_id, CancelAction.INTERRUPT)

    def _graph_of_default(self, assistant_id: UUID) -> str | None:
        """The graph whose default assistant this is, whatever graph it has been given since."""
        return next(
            (graph for graph in self._registry.ids if default_assistant_id(graph) == assistant_id), None
        )

    async def _remove_threads(self, scope: Scope, assistant_id: UUID) -> None:
        while True:
            with postgres_errors("looking for the threads of an assistant"):
                found = await self._assistants.threads(scope, assistant_id, BATCH)
            for thread_id in found:
                with suppress(NotFound):  # somebody else has removed it
                    await self._removal.thread(scope, thread_id)
            if len(found) < BATCH:
                return

    async def _check(
        self, asking: Asking, graph_id: str, config: dict[str, Any], context: dict[str, Any]
    ) -> None:
        async with self._graphs.open(asking, graph_id, config, context):
            return

    def _changed(self, assistant_id: UUID, assistant: Assistant | None) -> Assistant:
        self._choice.forget(assistant_id)
        if assistant is None:
            raise no_assistant(assistant_id)
        return assistant


def _fields(body: bodies.AssistantFields, graph_id: str | None) -> AssistantFields:
    """What is set. A context stands for the config's `configurable`, and the other way round."""
    config: dict[str, Any] | None = None if body.config is None else msgspec.to_builtins(body.config)
    given = either(body.config, body.context)
    if body.context:
        config = {**(config or {}), "configurable": given}
    return AssistantFields(
        graph_id=graph_id,
        name=body.name,
        description=body.description,
        config=config or None,
        context=given or body.context,
        metadata=body.metadata,
    )
