"""Which assistant a client means."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from treadle.db.assistants import Assistants
from treadle.db.pool import postgres_errors
from treadle.db.scope import EVERYWHERE, Scope
from treadle.errors import InvalidRequest, NotFound
from treadle.model import Assistant, default_assistant_id
from treadle.operations.missing import no_assistant

# More assistants than these are read again when they are needed again.
REMEMBERED = 1000


class AssistantChoice:
    """Finds assistants by their id, or by the id of a graph, whose default assistant is meant then.

    It remembers what it has read, so that a run costs no round trip for its assistant. Another process may have
    changed it since: `Runs.create` compares the revision, and creates nothing if it is not the same any more.
    """

    def __init__(self, graph_ids: Collection[str], assistants: Assistants) -> None:
        self._graph_ids = graph_ids
        self._assistants = assistants
        self._remembered: dict[UUID, Assistant] = {}

    async def choose(self, scope: Scope, name: str) -> Assistant:
        """The assistant that a request for a run names, perhaps as it was a moment ago; a shared one is everybody's.

        Raises:
            InvalidRequest: neither a UUID nor the id of a graph that is served.
            NotFound: no assistant has this id, or its graph is not served here.
        """
        assistant_id = self.id_of(name)
        assistant = self._remembered.get(assistant_id) or await self._read(EVERYWHERE, assistant_id)
        if not assistant.shared and not scope.sees(assistant.tenant, assistant.metadata):
            raise no_assistant(assistant_id)
        if assistant.graph_id not in self._graph_ids:
            raise NotFound(
                f"assistant_id: the graph {assistant.graph_id!r} of assistant {assistant_id} is not served here."
            )
        return assistant

    async def read(self, scope: Scope, name: str) -> Assistant:
        """The same to be looked at, as it is now, whatever its graph."""
        return await self._read(scope, self.id_of(name))

    async def _read(self, scope: Scope, assistant_id: UUID) -> Assistant:
        with postgres_errors("looking for an assistant"):
            assistant = await self._assistants.get(scope, assistant_id)
        if assistant is None:
            self.forget(assistant_id)
            raise no_assistant(assistant_id)
        self._remember(assistant)
        return assistant

    def id_of(self, name: str) -> UUID:
        """Raises InvalidRequest, as above."""
        if name in self._graph_ids:
            return default_assistant_id(name)
        try:
            return UUID(name)
        except ValueError:
            graphs = ", ".join(sorted(self._graph_ids))
            raise InvalidRequest(
                f"assistant_id: Invalid assistant {name[:128]!r}. It must be the UUID of an assistant, or one of the "
                f"graphs served here: {graphs}."
            ) from None

    def forget(self, assistant_id: UUID) -> None:
        """Read it again when it is needed again."""
        self._remembered.pop(assistant_id, None)

    def _remember(self, assistant: Assistant) -> None:
        while len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[assistant.assistant_id] = assistant
