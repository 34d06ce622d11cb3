"""What langgraph's RemoteGraph says in a run's `configurable` of the graph that it is a node of.

A node that is resumed sends the same input again, and says here that its graph goes on, and which answers by id that was given. All
else by which langgraph tells itself what it does is not for a client to say: a run would go without checkpoints, say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

PREFIX = "__pregel_"
GOES_ON = f"{PREFIX}resuming"
ANSWERS = f"{PREFIX}resume_map"


def answers_in(configurable: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answers that a graph which goes on passes on, by the ids of the questions; None: there are none."""
    given = configurable.get(ANSWERS)
    if configurable.get(GOES_ON) is not True or not isinstance(given, dict):
        return None
    return cast("dict[str, Any]", given) or None


def of_client(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """What a client may say. Its answers are the run's command."""
    return {
        name: value
        for name, value in configurable.items()
        if not name.startswith(PREFIX) or (name == GOES_ON and isinstance(value, bool))
    }
