"""What two servers may say differently about the same thing: ids, times, and what they call themselves."""

from __future__ import annotations

import re
from typing import Any, cast

from treadle.model import default_assistant_id

# The reference server describes itself and its tenants in the metadata of runs; no client can rely on it.
OF_THE_SERVER = frozenset(
    {
        "__after_seconds__",
        "__request_id__",
        "__request_start_time_ms__",
        "langgraph_api_url",
        "langgraph_api_version",
        "langgraph_auth_permissions",
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_host",
        "langgraph_plan",
        "langgraph_request_id",
        "user_id",
    }
)
# Each server has its own way of storing things.
SIZES = frozenset({"bytes", "total_bytes"})
GRAPHS = (
    "steps", "chat", "parent", "approval", "pair", "nested", "failing", "slow", "ticking", "routing", "fanout",
    "functional", "contextual", "seen", "survey", "interview", "deep", "handover", "orphan", "commanded", "row",
    "guarded", "talk", "raw", "checked", "held", "measured", "unkept", "untold",
)  # fmt: skip
ASSISTANTS = {str(default_assistant_id(graph)): f"<assistant of {graph}>" for graph in GRAPHS}

# Where an event of the event streaming protocol stands, by each server's own count.
PLACES = frozenset({"seq", "timestamp", "event_id"})

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
ID = re.compile(rf"{UUID}|\b[0-9a-f]{{32}}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")


def _private(key: str) -> bool:
    """Whether it is the server's own, or langgraph's inside of it."""
    return key in OF_THE_SERVER or key.startswith("__pregel")


class Normaliser:
    """One conversation's ids become `<1>`, `<2>`, ... in the order in which they appear."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def normal(self, value: Any) -> Any:
        """The value with placeholders for what differs from one time to the next. Keys are visited in order of name."""
        if isinstance(value, str):
            return TIME.sub("<time>", ID.sub(self._id, value))
        if isinstance(value, list):
            return [self.normal(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value)
            return {
                self.normal(key): self._member(key, items[key]) for key in sorted(items) if not _private(key)
            }
        return value

    def _member(self, key: str, value: Any) -> Any:
        if key in PLACES and str(value)[:1].isdigit() and not TIME.search(str(value)):
            return f"<{key}>"
        if key == "langgraph_version":
            return "<version>"
        if key == "serverInfo":
            return "<server>"
        if key in SIZES and value:
            return "<size>"
        if key == "detail" and isinstance(value, str):
            return "<text>"
        return self.normal(value)

    def _id(self, found: re.Match[str]) -> str:
        text = found[0]
        return ASSISTANTS.get(text) or self._ids.setdefault(text, f"<{len(self._ids) + 1}>")
