"""agent: a chat agent that calls tools until it can answer.

call_model ◄──► tools
    └─► END
"""

# pyright: reportUnknownMemberType=false
# (langgraph leaves some type parameters of its builder open.)

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.tools import ToolException
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.prebuilt.tool_node import ToolInvocationError

from agent.model import choose_model
from agent.tools import TOOLS

INSTRUCTIONS = SystemMessage(
    "You are a helpful assistant. Use the tools for anything that they can find out."
)


def build(model: BaseChatModel) -> CompiledStateGraph[MessagesState, None, MessagesState, MessagesState]:
    """The agent on this model."""
    model_with_tools = model.bind_tools(TOOLS)

    async def call_model(state: MessagesState) -> dict[str, Any]:
        """Ask the model: it answers, or calls tools. Its tokens stream (mode `messages`) without more ado."""
        return {"messages": [await model_with_tools.ainvoke([INSTRUCTIONS, *state["messages"]])]}

    return (
        StateGraph(MessagesState)
        .add_node(call_model)
        .add_node("tools", ToolNode(TOOLS, handle_tool_errors=what_went_wrong))
        .add_edge(START, "call_model")
        .add_conditional_edges("call_model", tools_condition)
        .add_edge("tools", "call_model")
        .compile(name="agent")
    )


def what_went_wrong(error: ToolException | ToolInvocationError) -> str:
    """What the model hears when it called a tool wrongly; any other error is a bug, and ends the run."""
    return str(error)


graph = build(choose_model())
