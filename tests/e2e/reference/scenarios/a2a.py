"""Assistants as agents: the Agent-to-Agent protocol, version 0.3, which the reference server documents."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk
from treadle.model import default_assistant_id


def _agent(graph: str) -> str:
    return f"/a2a/{default_assistant_id(graph)}"


async def _rpc(talk: Talk, graph: str, method: str, params: Any = None, **headers: str) -> Any:
    message = {"jsonrpc": "2.0", "id": "1", "method": method}
    if params is not None:
        message["params"] = params
    accept = "text/event-stream" if method == "message/stream" else "application/json"
    return await talk.post(_agent(graph), message, headers={"accept": accept, **headers})


def _said(text: str, task: Any = None, **more: Any) -> dict[str, Any]:
    return _message([{"kind": "text", "text": text}], task, **more)


def _given(data: Any, task: Any = None) -> dict[str, Any]:
    return _message([{"kind": "data", "data": data}], task)


def _message(parts: list[Any], task: Any = None, **more: Any) -> dict[str, Any]:
    named = {} if task is None else {"contextId": task["contextId"], "taskId": task["id"]}
    return {"message": {"role": "user", "parts": parts, "messageId": str(uuid4()), **named, **more}}


async def a_conversation(talk: Talk) -> None:
    task = (await _rpc(talk, "chat", "message/send", _said("hello")))["result"]
    known = {"id": task["id"], "contextId": task["contextId"]}
    await _rpc(talk, "chat", "tasks/get", known)
    await _rpc(talk, "chat", "tasks/get", {**known, "historyLength": 1})
    await _rpc(talk, "chat", "tasks/get", {"id": task["id"]}, **{"langgraph-a2a-history-scope": "task"})
    await _rpc(talk, "chat", "message/send", _said("more", task))
    await _rpc(talk, "chat", "tasks/cancel", known)


async def streamed(talk: Talk) -> None:
    await _rpc(talk, "chat", "message/stream", _said("hello"))
    await _rpc(talk, "approval", "message/stream", _given({"text": "a"}))
    await _rpc(talk, "failing", "message/stream", _given({"text": "a"}))


async def data(talk: Talk) -> None:
    await _rpc(talk, "steps", "message/send", _given({"text": "a"}))
    await _rpc(talk, "failing", "message/send", _given({"text": "a"}))


async def asked(talk: Talk) -> None:
    task = (await _rpc(talk, "approval", "message/send", _given({"text": "a"})))["result"]
    await _rpc(talk, "approval", "tasks/get", {"id": task["id"], "contextId": task["contextId"]})
    await _rpc(talk, "approval", "message/send", _given({"resume": "yes"}, task))


async def refused(talk: Talk) -> None:
    await _rpc(talk, "steps", "message/send", _said("hello"))
    await _rpc(talk, "chat", "message/send", _said("hello", contextId="nonsense"))
    await _rpc(talk, "chat", "message/send", _said("hello", taskId="nonsense"))
    await _rpc(talk, "chat", "tasks/get", {"id": f"{uuid4()}:{uuid4()}"})
    await _rpc(talk, "chat", "tasks/cancel", {"id": "nonsense"})
    await _rpc(talk, "chat", "message/send", {})
    await _rpc(talk, "chat", "message/send", _message([]))
    await _rpc(talk, "chat", "nothing", {})
    for body in ("no json", "[]", "{}"):
        await talk.post(_agent("chat"), body)
    await talk.post(f"/a2a/{uuid4()}", {"jsonrpc": "2.0", "id": "1", "method": "message/send"})


async def cards(talk: Talk) -> None:
    """But for the address, in which each server has its own port."""
    for path in (_agent("chat"), f"/.well-known/agent-card.json?assistant_id={default_assistant_id('chat')}"):
        card = await talk.get(path)
        for named in (card, *card["supportedInterfaces"]):
            named["url"] = f"<server>/{named['url'].rpartition('/a2a/')[2]}"
    await talk.get("/.well-known/agent-card.json", names="assistant_id")
    await talk.get(f"/.well-known/agent-card.json?assistant_id={uuid4()}")
