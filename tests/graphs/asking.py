"""A graph that tells who asks, by every way in which a graph can know it."""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import get_runtime


class Asked(TypedDict, total=False):
    """Who asks, as langgraph tells it, and as the config has it."""

    identity: str | None
    tenant: str | None
    is_user: bool
    config: dict[str, Any]


async def tell(state: Asked, config: RunnableConfig) -> Asked:
    info = get_runtime().server_info
    user = None if info is None else info.user
    configurable = config.get("configurable", {})
    return {
        "identity": None if user is None else user.identity,
        "tenant": None if user is None else user["tenant"],
        "is_user": user is not None and user.is_authenticated,
        "config": {key: value for key, value in configurable.items() if key.startswith("langgraph_auth_")},
    }


asked = StateGraph(Asked).add_node("tell", tell).add_edge(START, "tell").add_edge("tell", END).compile()
