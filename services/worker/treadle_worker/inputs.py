"""What a run's stored kwargs become for langgraph: input, config, context, stream modes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Durability, StreamMode

from treadle.graphs.command import to_command
from treadle.graphs.remote import of_client
from treadle.identity.user import USER, User
from treadle.model import Run

LANGGRAPH_VERSION = version("langgraph")
# langgraph's own switch for "an answer to an interrupt that does not wait is an error".
STRICT_RESUME = "__pregel_strict_resume"

# Where in a thread's history a run begins.
PLACE = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")

GRAPH_MODES: Mapping[str, StreamMode] = {
    "values": "values",
    "updates": "updates",
    "custom": "custom",
    "debug": "debug",
    "tasks": "tasks",
    "checkpoints": "checkpoints",
    "messages": "messages",
    "messages-tuple": "messages",
}


def graph_input(run: Run) -> Any:
    """The input or the command; None: go on from the last checkpoint."""
    if command := run.kwargs.get("command"):
        return to_command(command)
    return run.kwargs.get("input")


def run_config(run: Run, *, resumed: bool) -> RunnableConfig:
    """The config of one attempt: the stored one, the ids, and the checkpoint to start from.

    A resumed attempt starts from the newest checkpoint, which its predecessor wrote, whatever the request named.
    """
    stored = cast("dict[str, Any]", run.kwargs.get("config") or {})
    configurable: dict[str, Any] = {**of_client(stored.get("configurable") or {}), **_ids(run)}
    for name in PLACE:
        configurable.pop(name, None)
    if not resumed:
        configurable.update(starting_place(run))
    if run.kwargs.get("authenticated"):
        configurable[USER] = User(configurable[USER])
    if run.kwargs.get("strict_resume"):
        configurable[STRICT_RESUME] = True
    metadata: dict[str, Any] = {
        **(stored.get("metadata") or {}),
        **_ids(run),
        "run_attempt": run.attempt,
        "langgraph_version": LANGGRAPH_VERSION,
    }
    ours = {"configurable": configurable, "metadata": metadata, "run_id": run.run_id}
    return cast(RunnableConfig, {"run_name": run.graph_id, **stored, **ours})


def starting_place(run: Run) -> dict[str, Any]:
    """The checkpoint that the request named, in its `checkpoint` or its config; empty: the newest one."""
    stored = cast("dict[str, Any]", run.kwargs.get("config") or {})
    named = cast("dict[str, Any]", run.kwargs.get("checkpoint") or stored.get("configurable") or {})
    return {name: named[name] for name in PLACE if named.get(name)}


def _ids(run: Run) -> dict[str, str]:
    return {
        "run_id": str(run.run_id),
        "thread_id": str(run.thread_id),
        "assistant_id": str(run.assistant_id),
        "graph_id": run.graph_id,
    }


def stream_modes(run: Run) -> list[str]:
    """The modes that the request asked for, as they are called on the wire."""
    modes = run.kwargs.get("stream_mode") or ["values"]
    return [modes] if isinstance(modes, str) else list(modes)


def durability(run: Run) -> Durability:
    return cast("Literal['sync', 'async', 'exit']", run.kwargs.get("durability") or "async")
