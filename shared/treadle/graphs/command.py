"""Commands, as they come over the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.types import Command, Send


def to_command(command: Mapping[str, Any]) -> Command[Any]:
    """A command as it comes over the wire; `update` may be a mapping or a list of pairs."""
    update = command.get("update")
    if isinstance(update, list):
        update = [tuple(pair) for pair in cast("list[Sequence[Any]]", update)]
    return Command(update=update, resume=command.get("resume"), goto=_goto(command.get("goto")))


def _goto(goto: Any) -> Any:
    if goto is None:
        return ()
    if isinstance(goto, list):
        return [_goto(item) for item in cast("list[Any]", goto)]
    if isinstance(goto, Mapping):
        send = cast("Mapping[str, Any]", goto)
        return Send(send["node"], send.get("input", send.get("arg")))
    return goto
