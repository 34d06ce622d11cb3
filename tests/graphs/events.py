"""Graphs with all that the event streaming protocol tells of: tools, whole messages, subgraphs, events of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer


def _calling(name: str | None, call_id: str | None, args: str) -> AIMessageChunk:
    chunk = ToolCallChunk(name=name, id=call_id, args=args, index=0, type="tool_call_chunk")
    return AIMessageChunk(content="", id="asked", tool_call_chunks=[chunk])


class Scripted(BaseChatModel):
    """Asks for the weather, then tells it; streams what it says in pieces."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _pieces(self, messages: list[BaseMessage]) -> list[AIMessageChunk]:
        if isinstance(messages[-1], ToolMessage):
            return [
                AIMessageChunk(content=text, id="said") for text in ("It ", "is ", str(messages[-1].content))
            ]
        return [
            AIMessageChunk(content="Let me look.", id="asked"),
            _calling("weather", "call-1", '{"city": '),
            _calling(None, None, '"Bern"}'),
        ]

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        whole = self._pieces(messages)[0]
        for piece in self._pieces(messages)[1:]:
            whole += piece
        message = AIMessage(content=whole.content, tool_calls=whole.tool_calls, id=whole.id)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: Any = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._pieces(messages):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                run_manager.on_llm_new_token(str(piece.content), chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: Any = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces(messages):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                await run_manager.on_llm_new_token(str(piece.content), chunk=chunk)
            yield chunk


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"fine in {city}"


async def model(state: MessagesState) -> dict[str, Any]:
    """One turn of the model."""
    return {"messages": [await Scripted().ainvoke(state["messages"])]}


def agent() -> StateGraph[Any]:
    """A model and its tool."""
    return (
        StateGraph(MessagesState)
        .add_node("model", model)
        .add_node("tools", ToolNode([weather]))
        .add_edge(START, "model")
        .add_conditional_edges("model", tools_condition)
        .add_edge("tools", "model")
    )


talking = agent().compile()
delegating = (
    StateGraph(MessagesState).add_node("expert", agent().compile()).add_edge(START, "expert").compile()
)


def whole(state: MessagesState) -> dict[str, Any]:
    """An answer that no model has streamed."""
    return {"messages": [AIMessage(content="all at once", id="whole")]}


saying = (
    StateGraph(MessagesState).add_node("say", whole).add_edge(START, "say").add_edge("say", END).compile()
)


class Steps(StreamTransformer):
    """Tells of each step of the graph on a channel of its own."""

    required_stream_modes = ("updates",)

    def init(self) -> dict[str, Any]:
        """One channel, `steps`."""
        self._steps: StreamChannel[Any] = StreamChannel("steps")
        return {"steps": self._steps}

    def process(self, event: ProtocolEvent) -> bool:
        """Name the nodes of each update."""
        if event["method"] == "updates":
            self._steps.push({"nodes": list(event["params"]["data"])})
        return True


def report(state: MessagesState) -> dict[str, Any]:
    """Write to the custom stream: anything, and what has a name."""
    write = get_stream_writer()
    write({"half": "way"})
    write({"name": "progress", "payload": 1})
    return whole(state)


extended = (
    StateGraph(MessagesState)
    .add_node("report", report)
    .add_edge(START, "report")
    .compile(transformers=[Steps])
)
