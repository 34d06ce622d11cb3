"""A chat model without a model: rules choose the tools. It shows how agents are served, not thinking."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool


@dataclass(frozen=True)
class Rule:
    """When to call a tool: once per match of the pattern, whose named groups are the arguments."""

    tool: str
    pattern: re.Pattern[str]
    topic: re.Pattern[str] | None = None
    """What the message must also speak of, anywhere."""

    def calls(self, message: str) -> Iterator[ToolCall]:
        if self.topic is None or self.topic.search(message):
            for match in self.pattern.finditer(message):
                yield ToolCall(name=self.tool, args=match.groupdict(), id=uuid4().hex)


class RuleBasedChatModel(BaseChatModel):
    """Calls the tools that its rules find in what the human said last, then reports what they returned."""

    rules: Sequence[Rule]
    seconds_per_token: float = 0.02

    @property
    def _llm_type(self) -> str:
        return "rule-based"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call these tools; rules for others do not apply."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        tools = [tool["function"]["name"] for tool in kwargs.get("tools", [])]
        for message in self._answer(messages, tools):
            yield ChatGenerationChunk(message=message)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, None, **kwargs):
            yield chunk
            await asyncio.sleep(
                self.seconds_per_token
            )  # the pace of a real model, so that streaming can be seen

    def _answer(self, messages: Sequence[BaseMessage], tools: Sequence[str]) -> Iterator[AIMessageChunk]:
        question, results = _last_turn(messages)
        if results:
            yield from _tokens(". ".join(results) + ".")
        elif calls := self._calls(question, tools):
            yield AIMessageChunk(content="", tool_calls=calls)
        else:
            yield from _tokens(
                f"I am a rule-based model, and no rule of mine fits. My tools: {', '.join(tools)}."
            )

    def _calls(self, question: str, tools: Sequence[str]) -> list[ToolCall]:
        return [call for rule in self.rules if rule.tool in tools for call in rule.calls(question)]


def _last_turn(messages: Sequence[BaseMessage]) -> tuple[str, list[str]]:
    """What the human said last, and what tools have returned since."""
    results = list[str]()
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return str(message.text), results[::-1]
        if isinstance(message, ToolMessage):
            results.append(str(message.text))
    return "", results[::-1]


def _tokens(text: str) -> Iterator[AIMessageChunk]:
    return (AIMessageChunk(content=token) for token in re.findall(r"\S+\s*", text))
