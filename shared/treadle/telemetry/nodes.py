"""Spans of what a graph does: one for each execution of a node, and for the model and tool calls in it.

langgraph reports nodes through langchain-core's callbacks. The handler serves one attempt of one run and
holds that run's span as the parent, so runs that share a process cannot mix. Subgraphs' nodes are children of
the node that called them. Messages, prompts and tool arguments are never recorded.
"""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from treadle.telemetry import conventions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from treadle.telemetry.conventions import SpanSpec, Value
    from treadle.telemetry.tracing import Tracing

# langgraph gives this tag to a node's own run only; its metadata goes to everything inside the node.
_NODE_TAG: Final = "graph:step:"


@dataclass(slots=True)
class _Open:
    """A span that has begun, its context, and the context to restore if it became the current one."""

    span: Span
    context: Context
    before: Context | None


class NodeSpans(BaseCallbackHandler):
    """Callback handler for one attempt of a run; `parent` is its span's context (`Tracing.context`)."""

    # In the node's own context rather than in an executor: events keep their order, and the node's span can
    # be the current one for the node's code, so that its logs and its own spans belong to it.
    run_inline = True

    def __init__(self, tracing: Tracing, parent: Context | None) -> None:
        self._tracing = tracing
        self._parent = parent
        self._open: dict[UUID, _Open] = {}
        self._contexts: dict[UUID, Context | None] = {}

    def close(self) -> None:
        """End what is still open when the attempt is over, as of nodes that were cancelled."""
        for run_id in list(self._open):
            self._end(run_id, CancelledError())
        self._contexts.clear()

    @property
    def ignore_retriever(self) -> bool:
        return True

    @property
    def ignore_custom_event(self) -> bool:
        return True

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if metadata and any(tag.startswith(_NODE_TAG) for tag in tags or ()):
            self._begin(run_id, parent_run_id, _node(metadata), current=True)
        else:
            self._contexts[run_id] = self._around(parent_run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._begin(run_id, parent_run_id, _inference("chat", metadata, kwargs))

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._begin(run_id, parent_run_id, _inference("text_completion", metadata, kwargs))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        opened = self._open.get(run_id)
        if opened is not None and opened.span.is_recording():
            opened.span.set_attributes(_answer(response))
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name") or (serialized or {}).get("name") or "tool"
        self._begin(run_id, parent_run_id, conventions.tool(str(name)))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def _around(self, parent_run_id: UUID | None) -> Context | None:
        """The context of the nearest span around, however many untraced steps lie between."""
        if parent_run_id is None:
            return self._parent
        return self._contexts.get(parent_run_id, self._parent)

    def _begin(
        self, run_id: UUID, parent_run_id: UUID | None, spec: SpanSpec, *, current: bool = False
    ) -> None:
        span = self._tracing.start(*spec, parent=self._around(parent_run_id))
        context = self._tracing.context(span) or Context()
        before = contexts.get_current() if current else None
        if current:
            contexts.attach(context)
        self._contexts[run_id] = context
        self._open[run_id] = _Open(span, context, before)

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        self._contexts.pop(run_id, None)
        opened = self._open.pop(run_id, None)
        if opened is None:
            return
        # Not by detaching a token: a cancelled node may report its end in another task than its start.
        if opened.before is not None and contexts.get_current() is opened.context:
            contexts.attach(opened.before)
        _record_outcome(opened.span, error)
        opened.span.end()


def _record_outcome(span: Span, error: BaseException | None) -> None:
    """An interrupt, a command to the parent graph and a cancellation are how graphs work, not errors."""
    match error:
        case None:
            outcome = "success"
        case GraphInterrupt():
            outcome = "interrupted"
        case GraphBubbleUp():
            outcome = "success"
        case CancelledError():
            outcome = "cancelled"
        case _:
            outcome = "error"
            span.set_attribute(conventions.ERROR_TYPE, type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            span.record_exception(error)
    span.set_attribute(conventions.OUTCOME, outcome)


def _node(metadata: Mapping[str, Any]) -> SpanSpec:
    namespace = metadata.get("langgraph_checkpoint_ns") or metadata.get("checkpoint_ns") or ""
    return conventions.node(
        str(metadata.get("langgraph_node", "")), int(metadata.get("langgraph_step", 0)), str(namespace)
    )


def _inference(operation: str, metadata: Mapping[str, Any] | None, kwargs: Mapping[str, Any]) -> SpanSpec:
    """What langchain-core's models tell of themselves, in `ls_*` metadata or in their call's parameters."""
    known = metadata or {}
    params = cast("Mapping[str, Any]", kwargs.get("invocation_params") or {})
    model = known.get("ls_model_name") or params.get("model") or params.get("model_name")
    provider = known.get("ls_provider")
    return conventions.inference(
        operation,
        str(model) if model else None,
        str(provider) if provider else None,
        temperature=_number(known.get("ls_temperature")),
        max_tokens=_number(known.get("ls_max_tokens")),
    )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _answer(response: LLMResult) -> dict[str, Value]:
    """The answering model, why it stopped, and what it used, where the model says so."""
    messages = [
        generation.message
        for batch in response.generations
        for generation in cast("Sequence[object]", batch)
        if isinstance(generation, ChatGeneration)
    ]
    attributes: dict[str, Value] = {}
    for message in messages[:1]:
        told = cast("Mapping[str, object]", message.response_metadata)
        if model := told.get("model_name") or told.get("model"):
            attributes[conventions.GEN_AI_RESPONSE_MODEL] = str(model)
        if reason := told.get("finish_reason") or told.get("stop_reason"):
            attributes[conventions.GEN_AI_RESPONSE_FINISH_REASONS] = [str(reason)]
        if isinstance(message, AIMessage) and (usage := message.usage_metadata):
            attributes[conventions.GEN_AI_USAGE_INPUT_TOKENS] = usage["input_tokens"]
            attributes[conventions.GEN_AI_USAGE_OUTPUT_TOKENS] = usage["output_tokens"]
    return attributes
