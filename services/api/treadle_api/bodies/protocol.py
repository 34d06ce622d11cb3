"""The parameters of the protocol's commands. What they name besides is left alone: the protocol may grow."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from treadle.model import MultitaskStrategy
from treadle.wire.runs import Config, SendTo
from treadle_api.bodies.fields import Limit


class RunStart(Struct, kw_only=True):
    """`run.start`. The strategy comes under two names: the JavaScript client sends both."""

    assistant_id: str
    input: Any = None
    config: Config | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    multitask_strategy: MultitaskStrategy | None = None
    multitask_strategy_too: MultitaskStrategy | None = field(default=None, name="multitaskStrategy")


class Answer(Struct, kw_only=True):
    """The answer to one question. Its id is enough: the namespace says where it was asked."""

    interrupt_id: str
    response: Any = None
    namespace: list[str] = []


class Respond(Struct, kw_only=True):
    """`input.respond`: one answer, or several `responses` that are given at once."""

    interrupt_id: str | None = None
    response: Any = None
    namespace: list[str] = []
    responses: list[Answer] | None = None
    update: dict[str, Any] | None = None
    goto: str | SendTo | list[str | SendTo] | None = None
    config: Config | None = None
    metadata: dict[str, Any] | None = None
    strict_resume: bool | None = None

    @property
    def answers(self) -> dict[str, Any]:
        """The answers by the ids of their questions."""
        one = {} if self.interrupt_id is None else {self.interrupt_id: self.response}
        return {**one, **{answer.interrupt_id: answer.response for answer in self.responses or ()}}


class StateGet(Struct, kw_only=True):
    """`state.get`: some keys of the state, or all of it."""

    namespace: list[str] = []
    keys: list[str] | None = None


class ListCheckpoints(Struct, kw_only=True):
    """`state.listCheckpoints`: newest first, from before a checkpoint on."""

    namespace: list[str] = []
    limit: Limit = 10
    before: str | None = None


class Fork(Struct, kw_only=True):
    """`state.fork`: a run that begins at a checkpoint."""

    checkpoint_id: str
    input: Any = None
    config: Config | None = None


class Nothing(Struct, kw_only=True):
    """A command that needs no parameters."""
