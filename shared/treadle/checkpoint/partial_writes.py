"""What a task that did not come to its end leaves: why, and nothing of what it had written by then.

A node writes its state first, and then where the graph goes from there. langgraph saves whatever a task had written when it
failed or was cancelled, and takes it for done when the run goes on: the state is there, and where to go is not, so the run ends
early and well (https://github.com/langchain-ai/langgraph/issues/8834). Without its partial writes the task runs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import ERROR

# With it, a task that failed is done: its error handler goes on from there.
ERROR_SOURCE_NODE = "__error_source_node__"


def without_partial_writes(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """The writes of a task as they may be saved."""
    channels = {channel for channel, _ in writes}
    if ERROR not in channels or ERROR_SOURCE_NODE in channels:
        return writes
    return [write for write in writes if write[0] in WRITES_IDX_MAP]
