"""Assistants as tools: the Model Context Protocol."""

from __future__ import annotations

from typing import Any

from tests.e2e.reference.talk import Talk

BOTH = {"accept": "application/json, text/event-stream"}
TOOLS = ("steps", "chat", "functional", "fanout", "seen")


async def _rpc(talk: Talk, method: str, params: Any = None, **headers: str) -> Any:
    message = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params is not None:
        message["params"] = params
    return await talk.post("/mcp", message, headers={**BOTH, **headers})


async def a_session(talk: Talk) -> None:
    for version in ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "1999-01-01"):
        client = {"name": "client", "version": "1"}
        given = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
        await _rpc(talk, "initialize", given)
    await talk.post("/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=BOTH)
    await talk.post("/mcp", {"jsonrpc": "2.0", "id": 3, "result": {}}, headers=BOTH)
    await _rpc(talk, "ping")
    await _rpc(talk, "ping", **{"mcp-session-id": "nobody-gave-it"})
    await talk.get("/mcp")
    await talk.call("DELETE", "/mcp")
    await talk.call("DELETE", "/mcp", headers={"mcp-session-id": "nobody-gave-it"})


async def described(talk: Talk) -> None:
    """Only the tools that every server of these tests has."""
    listed = (await _rpc(talk, "tools/list"))["result"]
    listed["tools"] = sorted(
        (tool for tool in listed["tools"] if tool["name"] in TOOLS), key=lambda tool: tool["name"]
    )


async def called(talk: Talk) -> None:
    await _rpc(talk, "tools/call", {"name": "steps", "arguments": {"text": "a"}})
    await _rpc(talk, "tools/call", {"name": "steps"})
    await _rpc(talk, "tools/call", {"name": "chat", "arguments": {"messages": "hi"}})
    await _rpc(talk, "tools/call", {"name": "approval", "arguments": {"text": "a"}})
    await _rpc(talk, "tools/call", {"name": "functional", "arguments": {"input": 3}})
    await _rpc(talk, "tools/call", {"name": "failing", "arguments": {}})


async def refused(talk: Talk) -> None:
    await _rpc(talk, "tools/call", {"name": "nobody", "arguments": {}})
    await _rpc(talk, "tools/call", {})
    await _rpc(talk, "tools/call", {"name": "steps", "arguments": [1]})
    await _rpc(talk, "initialize", {})
    for method in ("resources/list", "prompts/list", "logging/setLevel", "nothing"):
        await _rpc(talk, method, {})
    for body in ("no json", "[]", "{}"):
        await talk.post("/mcp", body, headers={**BOTH, "content-type": "application/json"})
    await _rpc(talk, "ping", accept="text/html")
    await _rpc(talk, "ping", accept="application/json")
    await _rpc(talk, "ping", **{"mcp-protocol-version": "1999-01-01"})
