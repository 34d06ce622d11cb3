"""`priority` of langgraph.json: which runs of a tenant go first, as a function of the user's own says of each thread, once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Self, cast
from uuid import UUID

from langgraph_sdk import Priority, PriorityContext

from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, postgres_errors
from treadle.db.scope import Scope
from treadle.db.turns import TurnRows
from treadle.errors import ConfigError, PriorityFailed, Unavailable
from treadle.graphs.config import Config
from treadle.graphs.loader import named
from treadle.identity.user import User
from treadle.model import Assistant
from treadle.operations.asking import Asking

log = logging.getLogger(__name__)

FIRST, LAST = -5, 5
LONGEST_GROUP = 256
KEYS = frozenset({"priority", "fairness_group"})
NOBODY: Mapping[str, Any] = {
    "identity": "",
    "display_name": "",
    "is_authenticated": False,
    "permissions": [],
}


class Priorities:
    """Asks the user's function at the first run of a thread, and keeps with the thread what it said.

    Args:
        assign: the function.
        where: what an error calls it.
    """

    def __init__(self, assign: Any, where: str, pool: Pool) -> None:
        self._assign = assign
        self._where = where
        self._rows = TurnRows(pool)

    @classmethod
    def of(cls, config: Config, pool: Pool) -> Self | None:
        """None: nobody says; all are alike.

        Raises:
            ConfigError: what langgraph.json names is no `Priority`, or has no function.
        """
        if config.priority is None:
            return None
        where = f"{config.path}: `priority.path` ({config.priority})"
        priority = named(config, config.priority, where)
        if not isinstance(priority, Priority):
            raise ConfigError(
                f"{where} is a {type(priority).__name__}: it must be a `langgraph_sdk.Priority()`."
            )
        assign = cast("Any", priority)._assign_handler  # noqa: SLF001
        if assign is None:
            raise ConfigError(f"{where} has no `@priority.assign`: define one.")
        return cls(assign, where, pool)

    async def of_run(
        self, asking: Asking, assistant: Assistant, row: NewRun, thread_id: UUID | None
    ) -> int | None:
        """The priority that the run's thread is to have; None: it has one.

        Args:
            thread_id: of the run, if who asks knows of it.

        Raises:
            PriorityFailed: the function raised, or said what is none.
            Unavailable: Postgres cannot be reached.
        """
        metadata: dict[str, Any] | None = None
        if not row.stateless:
            with postgres_errors("looking for the priority of a thread"):
                thread = await self._rows.thread(Scope(asking.tenant), row.thread_id)
            if thread is not None:
                if thread.priority is not None:
                    return None
                metadata = thread.metadata
        context = PriorityContext(
            user=cast("Any", User(asking.user or NOBODY)),
            permissions=list((asking.user or NOBODY)["permissions"]),
            thread_id=None if thread_id is None else str(thread_id),
            thread_metadata=dict(row.thread_metadata) if metadata is None else metadata,
            assistant_id=str(assistant.assistant_id),
            graph_id=assistant.graph_id,
            assistant_metadata=dict(assistant.metadata),
            run_metadata=dict(row.metadata),
            cron_id=row.metadata.get("cron_id"),
        )
        try:
            said = await self._assign(context)
        except Exception as error:
            log.warning("%s failed", self._where, exc_info=error)
            raise PriorityFailed(
                f"No run was made: {self._where} raised {type(error).__name__} when it was asked for the priority of the "
                "thread. The log has the traceback."
            ) from error
        return self._checked(said)

    async def keep(self, row: NewRun) -> None:
        """Keep the priority with the thread of a run that is committed; if that fails, the next run asks again."""
        if row.priority is None:
            return
        try:
            with postgres_errors("keeping the priority of a thread"):
                await self._rows.set_priority(row.thread_id, row.priority)
        except Unavailable as error:
            log.warning("%s", error)

    def _checked(self, said: Any) -> int:
        if said is None:
            return 0
        if not isinstance(said, Mapping) or not KEYS.issuperset(cast("Mapping[Any, Any]", said)):
            raise self._refused(f"{said!r}, which is not a mapping with {' or '.join(sorted(KEYS))}")
        settings = cast("Mapping[str, Any]", said)
        priority, group = settings.get("priority"), settings.get("fairness_group")
        if priority is None:
            priority = 0
        if not isinstance(priority, int) or isinstance(priority, bool) or not FIRST <= priority <= LAST:
            raise self._refused(
                f"the `priority` {priority!r}, which is not a whole number from {FIRST} to {LAST}"
            )
        if group is not None and (not isinstance(group, str) or len(group) > LONGEST_GROUP):
            raise self._refused(f"a `fairness_group` that is not text of at most {LONGEST_GROUP} characters")
        return priority

    def _refused(self, what: str) -> PriorityFailed:
        return PriorityFailed(f"No run was made: {self._where} returned {what}.")
