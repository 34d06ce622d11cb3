"""Which assistant a client means."""

from __future__ import annotations

from uuid import UUID

import msgspec

from treadle.db.assistants import Assistants
from treadle.db.pool import postgres_errors
from treadle.errors import InvalidRequest, NotFound
from treadle.graphs.registry import Registry
from treadle.model import default_assistant_id


class Chosen(msgspec.Struct, frozen=True):
    """An assistant as a run needs it."""

    assistant_id: UUID
    graph_id: str


class AssistantChoice:
    """Finds assistants by their id, or by the id of a graph, whose default assistant is meant then."""

    def __init__(self, registry: Registry, assistants: Assistants) -> None:
        self._assistants = assistants
        self._by_graph = {
            graph_id: Chosen(default_assistant_id(graph_id), graph_id) for graph_id in registry.ids
        }
        self._defaults = {chosen.assistant_id: chosen for chosen in self._by_graph.values()}

    async def choose(self, name: str) -> Chosen:
        """The assistant that a request names.

        Raises:
            InvalidRequest: neither a UUID nor the id of a graph that is served.
            NotFound: no assistant has this id.
        """
        if (chosen := self._by_graph.get(name)) is not None:
            return chosen
        assistant_id = self._read(name)
        if (chosen := self._defaults.get(assistant_id)) is not None:
            return chosen
        with postgres_errors("looking for an assistant"):
            assistant = await self._assistants.get(assistant_id)
        if assistant is None:
            raise NotFound(f"assistant_id: no assistant has the ID {assistant_id}.")
        return Chosen(assistant.assistant_id, assistant.graph_id)

    def _read(self, name: str) -> UUID:
        try:
            return UUID(name)
        except ValueError:
            graphs = ", ".join(sorted(self._by_graph))
            raise InvalidRequest(
                f"assistant_id: Invalid assistant {name[:128]!r}. It must be the UUID of an assistant, or one of the "
                f"graphs served here: {graphs}."
            ) from None
