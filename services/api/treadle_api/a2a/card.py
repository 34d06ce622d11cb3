"""The card by which an assistant is known as an agent."""

from __future__ import annotations

from importlib.metadata import version

from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill
from google.protobuf.json_format import ParseDict

from treadle.model import Assistant

MODES = ["application/json", "text/plain"]
# Newest first: clients choose the first that they know.
VERSIONS = ("1.0", "0.3")
HISTORY_SCOPE = {
    "uri": "https://langchain.com/a2a/extensions/history-scope/v1",
    "description": "Choose task-only or full-context response history",
    "required": False,
    "params": {
        "header": "LangGraph-A2A-History-Scope",
        "values": ["context", "task"],
        "default": "context",
        "methods": ["SendMessage", "GetTask", "ListTasks"],
    },
}


def card_of(assistant: Assistant, url: str) -> AgentCard:
    """The card of an assistant that is spoken to at `url`."""
    description = assistant.description or f"{assistant.name} assistant"
    skill = AgentSkill(
        id=f"{assistant.assistant_id}-main",
        name=f"{assistant.name} Capabilities",
        description=description,
        tags=["assistant", "langgraph"],
        input_modes=MODES,
        output_modes=MODES,
    )
    return AgentCard(
        name=assistant.name,
        description=description,
        version=version("treadle"),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=spoken)
            for spoken in VERSIONS
        ],
        capabilities=AgentCapabilities(
            streaming=True,
            push_notifications=False,
            extended_agent_card=True,
            extensions=[ParseDict(HISTORY_SCOPE, AgentExtension())],
        ),
        default_input_modes=MODES,
        default_output_modes=MODES,
        skills=[skill],
    )
