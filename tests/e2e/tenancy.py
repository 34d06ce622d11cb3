"""Two tenants: what one of them has, and how another one asks for it, operation by operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from httpx import AsyncClient, Response

from tests.stack import Stack

# What there is of a tenant, whole, in an order of its own.
ROWS = {
    "thread": "select * from treadle.thread where tenant = $1 order by thread_id",
    "run": """select r.* from treadle.run r join treadle.thread t using (thread_id)
               where t.tenant = $1 order by r.run_id""",
    "assistant": "select * from treadle.assistant where tenant = $1 and not shared order by assistant_id",
    "version": """select v.* from treadle.assistant_version v join treadle.assistant a using (assistant_id)
                   where a.tenant = $1 and not a.shared order by assistant_id, version""",
    "cron": "select * from treadle.cron where tenant = $1 order by cron_id",
    "checkpoint": """select c.* from checkpoints c join treadle.thread t on t.thread_id::text = c.thread_id
                      where t.tenant = $1 order by c.thread_id, c.checkpoint_ns, c.checkpoint_id""",
    "item": "select * from store where value::text like '%' || $1 || '%' order by prefix, key",
}


class Things(NamedTuple):
    """One of each, of one tenant."""

    tenant: str
    mark: str
    thread: str
    run: str
    checkpoint: str
    asking: str
    interrupt: str
    waiting: str
    waiting_run: str
    assistant: str
    cron: str
    task: str
    context: str

    @property
    def known_to_nobody_else(self) -> list[str]:
        return [*self[1:]]


class Ask(NamedTuple):
    """A request of a stranger for things that are not its own, and what it has to be answered with."""

    path: str
    body: Any = None
    status: Sequence[int] = (404,)
    query: dict[str, str] = {}  # noqa: RUF012 - never changed


FOUND_NOTHING = (200,)
TAKEN = (409,)


def asks(its: Things) -> dict[str, list[Ask]]:
    """How every operation is asked for another tenant's things; of those that name none, what they must not tell."""
    thread, run = f"/threads/{its.thread}", f"/threads/{its.thread}/runs/{its.run}"
    assistant, cron = f"/assistants/{its.assistant}", f"/runs/crons/{its.cron}"
    new = {"assistant_id": "steps", "input": {"value": "a"}}
    of_theirs = {**new, "assistant_id": its.assistant}
    making = [Ask(f"{thread}/runs", new), Ask(f"{thread}/runs", {**new, "if_not_exists": "create"})]
    answer = {"assistant_id": "approval", "command": {"resume": True}}
    item = {"namespace": ["notes"], "key": "one"}
    return {
        "POST /assistants": [
            Ask("/assistants", {"graph_id": "steps", "assistant_id": its.assistant}, TAKEN),
            Ask(
                "/assistants",
                {"graph_id": "steps", "assistant_id": its.assistant, "if_exists": "do_nothing"},
                TAKEN,
            ),
        ],
        "GET /assistants/{assistant_id}": [Ask(assistant)],
        "PATCH /assistants/{assistant_id}": [Ask(assistant, {"name": "mine", "metadata": {"a": 1}})],
        "DELETE /assistants/{assistant_id}": [Ask(assistant), Ask(assistant, query={"delete_threads": "true"})],
        "POST /assistants/search": [Ask("/assistants/search", {"limit": 1000}, FOUND_NOTHING)],
        "POST /assistants/count": [
            Ask("/assistants/count", {"metadata": {"mark": its.mark}}, FOUND_NOTHING),
        ],
        "POST /assistants/{assistant_id}/versions": [Ask(f"{assistant}/versions", {})],
        "POST /assistants/{assistant_id}/latest": [Ask(f"{assistant}/latest", {"version": 1})],
        "GET /assistants/{assistant_id}/schemas": [Ask(f"{assistant}/schemas")],
        "GET /assistants/{assistant_id}/graph": [Ask(f"{assistant}/graph")],
        "GET /assistants/{assistant_id}/subgraphs": [Ask(f"{assistant}/subgraphs")],
        "GET /assistants/{assistant_id}/subgraphs/{namespace}": [Ask(f"{assistant}/subgraphs/child")],
        "POST /threads": [
            Ask("/threads", {"thread_id": its.thread}, TAKEN),
            Ask("/threads", {"thread_id": its.thread, "if_exists": "do_nothing"}, TAKEN),
        ],
        "GET /threads/{thread_id}": [Ask(thread), Ask(thread, query={"include": "ttl"})],
        "PATCH /threads/{thread_id}": [Ask(thread, {"metadata": {"mine": True}, "ttl": 1})],
        "DELETE /threads/{thread_id}": [Ask(thread), Ask(f"/threads/{its.waiting}")],
        "POST /threads/{thread_id}/copy": [Ask(f"{thread}/copy")],
        "POST /threads/prune": [
            Ask("/threads/prune", {"thread_ids": [its.thread], "strategy": how}, FOUND_NOTHING)
            for how in ("delete", "keep_latest")
        ],
        "GET /threads/{thread_id}/storage": [Ask(f"{thread}/storage")],
        "POST /threads/search": [
            Ask("/threads/search", {"limit": 1000}, FOUND_NOTHING),
            Ask("/threads/search", {"ids": [its.thread]}, FOUND_NOTHING),
            Ask("/threads/search", {"metadata": {"mark": its.mark}}, FOUND_NOTHING),
            Ask("/threads/search", {"values": {"value": its.mark}, "status": "idle"}, FOUND_NOTHING),
        ],
        "POST /threads/count": [
            Ask("/threads/count", {"ids": [its.thread]}, FOUND_NOTHING),
            Ask("/threads/count", {"metadata": {"mark": its.mark}}, FOUND_NOTHING),
        ],
        "GET /threads/{thread_id}/stream": [Ask(f"{thread}/stream")],
        "GET /threads/{thread_id}/state": [Ask(f"{thread}/state")],
        "GET /threads/{thread_id}/state/{checkpoint_id}": [Ask(f"{thread}/state/{its.checkpoint}")],
        "POST /threads/{thread_id}/state/checkpoint": [
            Ask(f"{thread}/state/checkpoint", {"checkpoint": {"checkpoint_id": its.checkpoint}})
        ],
        "POST /threads/{thread_id}/state": [Ask(f"{thread}/state", {"values": {"value": "mine"}})],
        "GET /threads/{thread_id}/history": [Ask(f"{thread}/history")],
        "POST /threads/{thread_id}/history": [Ask(f"{thread}/history", {"limit": 10})],
        "POST /threads/{thread_id}/commands": [
            Ask(f"/threads/{on}/commands", {"id": 1, "method": method, "params": params}, FOUND_NOTHING)
            for on, method, params in (
                (its.thread, "run.start", new),
                (its.asking, "input.respond", {"interrupt_id": its.interrupt, "response": True}),
                (its.thread, "state.get", {}),
                (its.thread, "state.listCheckpoints", {}),
                (its.thread, "state.fork", {"checkpoint_id": its.checkpoint}),
                (its.thread, "agent.getTree", {}),
            )
        ],
        "POST /threads/{thread_id}/stream/events": [
            Ask(f"{thread}/stream/events", {"channels": ["values"], "since": 0})
        ],
        "POST /threads/{thread_id}/runs": [*making, Ask(f"/threads/{its.asking}/runs", answer)],
        "POST /threads/{thread_id}/runs/wait": [ask._replace(path=f"{ask.path}/wait") for ask in making],
        "POST /threads/{thread_id}/runs/stream": [ask._replace(path=f"{ask.path}/stream") for ask in making],
        "GET /threads/{thread_id}/runs": [Ask(f"{thread}/runs"), Ask(f"/threads/{its.waiting}/runs")],
        "GET /threads/{thread_id}/runs/{run_id}": [Ask(run)],
        "DELETE /threads/{thread_id}/runs/{run_id}": [
            Ask(run),
            Ask(f"/threads/{its.waiting}/runs/{its.waiting_run}"),
        ],
        "GET /threads/{thread_id}/runs/{run_id}/join": [Ask(f"{run}/join")],
        "GET /threads/{thread_id}/runs/{run_id}/stream": [
            Ask(f"{run}/stream"),
            Ask(f"/threads/{its.waiting}/runs/{its.waiting_run}/stream", query={"cancel_on_disconnect": "true"}),
        ],
        "POST /threads/{thread_id}/runs/{run_id}/cancel": [
            Ask(f"/threads/{its.waiting}/runs/{its.waiting_run}/cancel"),
            Ask(f"/threads/{its.waiting}/runs/{its.waiting_run}/cancel", query={"action": "rollback"}),
        ],
        "POST /runs/cancel": [
            Ask("/runs/cancel", {"thread_id": its.waiting, "run_ids": [its.waiting_run]}),
            Ask("/runs/cancel", {"status": "all"}, (204, 404)),  # its own, if it has any
        ],
        "POST /runs": [Ask("/runs", of_theirs)],
        "POST /runs/wait": [Ask("/runs/wait", of_theirs)],
        "POST /runs/stream": [Ask("/runs/stream", of_theirs)],
        "POST /runs/batch": [Ask("/runs/batch", [of_theirs]), Ask("/runs/batch", [new, {**new, "thread_id": its.thread}])],
        "POST /runs/crons": [Ask("/runs/crons", {"assistant_id": its.assistant, "schedule": "0 0 1 1 *"})],
        "POST /threads/{thread_id}/runs/crons": [
            Ask(f"{thread}/runs/crons", {"assistant_id": "steps", "schedule": "0 0 1 1 *"})
        ],
        "GET /runs/crons/{cron_id}": [Ask(cron)],
        "PATCH /runs/crons/{cron_id}": [Ask(cron, {"schedule": "* * * * *"})],
        "DELETE /runs/crons/{cron_id}": [Ask(cron)],
        "POST /runs/crons/{cron_id}/trigger": [Ask(f"{cron}/trigger")],
        "POST /runs/crons/search": [
            Ask("/runs/crons/search", {"limit": 1000}, FOUND_NOTHING),
            Ask("/runs/crons/search", {"thread_id": its.thread}, FOUND_NOTHING),
        ],
        "POST /runs/crons/count": [Ask("/runs/crons/count", {"assistant_id": its.assistant}, FOUND_NOTHING)],
        "PUT /store/items": [Ask("/store/items", {**item, "value": {"text": "mine"}}, (204,))],
        "GET /store/items": [
            Ask("/store/items", status=FOUND_NOTHING, query={"namespace": "notes", "key": "one"}),
            Ask(
                "/store/items",
                status=(200, 422),
                query={"namespace": f"treadle-tenant.{its.tenant}.notes", "key": "one"},
            ),
        ],
        "DELETE /store/items": [
            Ask("/store/items", item, (204,)),
            Ask(
                "/store/items",
                {**item, "namespace": ["treadle-tenant", its.tenant, "notes"]},
                (204, 422),
            ),
        ],
        "POST /store/items/search": [
            Ask("/store/items/search", {"namespace_prefix": [], "limit": 1000}, FOUND_NOTHING),
            Ask("/store/items/search", {"namespace_prefix": ["notes"]}, FOUND_NOTHING),
        ],
        "POST /store/namespaces": [
            Ask("/store/namespaces", {"limit": 1000}, FOUND_NOTHING),
            Ask("/store/namespaces", {"prefix": ["*"], "suffix": ["notes"]}, FOUND_NOTHING),
        ],
        "POST /mcp": [
            Ask("/mcp", rpc("tools/list", {}), FOUND_NOTHING),
            Ask("/mcp", rpc("tools/call", {"name": its.mark, "arguments": {}}), FOUND_NOTHING),
        ],
        "GET /mcp": [Ask("/mcp", status=(405,))],
        "DELETE /mcp": [Ask("/mcp")],
        "POST /a2a/{assistant_id}": [
            Ask(f"/a2a/{its.assistant}", rpc("tasks/get", {"id": its.task})),
            Ask("/a2a/chat", rpc("tasks/get", {"id": its.task}), FOUND_NOTHING),
            Ask("/a2a/chat", rpc("tasks/cancel", {"id": its.task}), FOUND_NOTHING),
            Ask("/a2a/chat", rpc("tasks/resubscribe", {"id": its.task}), FOUND_NOTHING),
            Ask("/a2a/chat", rpc("message/send", said(contextId=its.context)), FOUND_NOTHING),
            Ask("/a2a/chat", rpc("message/send", said(taskId=its.task)), FOUND_NOTHING),
            Ask("/a2a/chat", rpc("ListTasks", {}), FOUND_NOTHING),
            Ask("/a2a/chat", rpc("ListTasks", {"contextId": its.context}), FOUND_NOTHING),
        ],
        "GET /a2a/{assistant_id}": [Ask(f"/a2a/{its.assistant}")],
        "GET /a2a/{assistant_id}/.well-known/agent-card.json": [
            Ask(f"/a2a/{its.assistant}/.well-known/agent-card.json")
        ],
        "GET /.well-known/agent-card.json": [
            Ask("/.well-known/agent-card.json", query={"assistant_id": its.assistant})
        ],
    }  # fmt: skip


def rpc(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def said(text: str = "hello", **where: str) -> dict[str, Any]:
    parts = [{"kind": "text", "text": text}]
    return {
        "message": {"kind": "message", "role": "user", "messageId": str(uuid4()), "parts": parts, **where}
    }


async def things_of(tenant: str, http: AsyncClient) -> Things:
    """Make one of each, marked wherever something can be written."""
    mark = f"known-to-one-tenant-only-{uuid4().hex}"
    marked = {"mark": mark}
    run = {"assistant_id": "steps", "input": {"value": mark}, "metadata": marked}
    assistant = await made(http, "/assistants", {"graph_id": "steps", "name": mark, "metadata": marked})
    thread = (await made(http, "/threads", {"metadata": marked}))["thread_id"]
    await made(http, f"/threads/{thread}/runs/wait", run)
    ended = (await http.get(f"/threads/{thread}/runs")).json()[0]["run_id"]
    state = (await http.get(f"/threads/{thread}/state")).json()
    asking = (await made(http, "/threads", {"metadata": marked}))["thread_id"]
    asked = await made(http, f"/threads/{asking}/runs/wait", {"assistant_id": "approval", "input": {}})
    waiting = (await made(http, "/threads", {"metadata": marked}))["thread_id"]
    delayed = await made(http, f"/threads/{waiting}/runs", {**run, "after_seconds": 3600})
    cron = await made(
        http, f"/threads/{thread}/runs/crons", {**run, "assistant_id": assistant["assistant_id"], "schedule": "0 0 1 1 *"}
    )  # fmt: skip
    task = (await made(http, "/a2a/chat", rpc("message/send", said(mark))))["result"]
    await remember(http, mark)
    return Things(
        tenant=tenant,
        mark=mark,
        thread=thread,
        run=ended,
        checkpoint=state["checkpoint"]["checkpoint_id"],
        asking=asking,
        interrupt=asked["__interrupt__"][0]["id"],
        waiting=waiting,
        waiting_run=delayed["run_id"],
        assistant=assistant["assistant_id"],
        cron=cron["cron_id"],
        task=task["id"],
        context=task["contextId"],
    )


async def remember(http: AsyncClient, mark: str) -> None:
    """Put the item of a tenant, which it may have removed when it was the stranger."""
    put = {"namespace": ["notes"], "key": "one", "value": {"text": mark}}
    assert (await http.put("/store/items", json=put)).status_code == 204


async def made(http: AsyncClient, path: str, body: Any) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    return answer.json()


async def asked(http: AsyncClient, operation: str, ask: Ask) -> Response:
    """The answer; one that goes on for ever is none that a stranger should get."""
    method = operation.split(maxsplit=1)[0]
    async with asyncio.timeout(20):
        return await http.request(method, ask.path, json=ask.body, params=ask.query)


async def rows_of(stack: Stack, its: Things) -> dict[str, str]:
    """All that Postgres has of a tenant, for comparison."""
    async with stack.database() as database:
        return {
            name: json.dumps(
                [dict(row) for row in await database.fetch(query, *_of(query, its))], default=str
            )
            for name, query in ROWS.items()
        }


def _of(query: str, its: Things) -> list[str]:
    return [its.mark] if query is ROWS["item"] else [its.tenant]
