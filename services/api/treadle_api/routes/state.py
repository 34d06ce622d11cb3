"""A thread's state and history."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Router, get, post

from treadle.db.scope import Scope
from treadle.operations.ids import read_id
from treadle.wire.limits import BodyLimits
from treadle.wire.runs import Checkpoint
from treadle_api.access.access import Access
from treadle_api.bodies.fields import QueryLimit
from treadle_api.bodies.states import Before, HistoryQuery, StateAt, StateUpdate
from treadle_api.operations.states import States
from treadle_api.selection import read_selection
from treadle_api.views.states import StateView, UpdatedState

# As the protocol has it; clients ask for more.
HISTORY_LIMIT = 1


@get("/threads/{thread_id:str}/state", summary="The newest state")
async def get_state(
    thread_id: str,
    states: States,
    access: Access,
    subgraphs: bool = False,
    checkpoint_id: str | None = None,
    select: list[str] | None = None,
) -> StateView:
    wanted, selection = read_id("thread", thread_id), read_selection(select)
    scope = await _readable(access, wanted)
    return selection.of(
        await states.get(access, scope, wanted, Checkpoint(checkpoint_id=checkpoint_id), subgraphs=subgraphs)
    )


@get("/threads/{thread_id:str}/state/{checkpoint_id:str}", summary="The state at a checkpoint")
async def get_state_at(
    thread_id: str,
    checkpoint_id: str,
    states: States,
    access: Access,
    subgraphs: bool = False,
    select: list[str] | None = None,
) -> StateView:
    wanted, selection = read_id("thread", thread_id), read_selection(select)
    scope = await _readable(access, wanted)
    return selection.of(
        await states.get(access, scope, wanted, Checkpoint(checkpoint_id=checkpoint_id), subgraphs=subgraphs)
    )


@post(
    "/threads/{thread_id:str}/state/checkpoint",
    status_code=200,
    summary="The state at a checkpoint, be it a subgraph's",
)
async def post_state_at(thread_id: str, data: StateAt, states: States, access: Access) -> StateView:
    wanted, selection = read_id("thread", thread_id), read_selection(data.select)
    scope = await _readable(access, wanted)
    return selection.of(
        await states.get(access, scope, wanted, data.checkpoint, subgraphs=bool(data.subgraphs))
    )


@post("/threads/{thread_id:str}/state", status_code=200, summary="Update the state, as a node would")
async def update_state(thread_id: str, data: StateUpdate, states: States, access: Access) -> UpdatedState:
    wanted = read_id("thread", thread_id)
    value: dict[str, Any] = {"thread_id": wanted, "metadata": {}, "values": data.values}
    return await states.update(access, await access.allow("threads", "update", value), wanted, data)


@get("/threads/{thread_id:str}/history", summary="The states of a thread, newest first")
async def get_history(
    thread_id: str,
    states: States,
    access: Access,
    limits: BodyLimits,
    limit: QueryLimit = HISTORY_LIMIT,
    before: str | None = None,
    select: list[str] | None = None,
) -> list[StateView]:
    limits.check_page(limit)
    wanted, selection = read_id("thread", thread_id), read_selection(select)
    scope = await _readable(access, wanted)
    found = await states.history(
        access, scope, wanted, Checkpoint(), limit=limit, before=before, metadata=None
    )
    return [selection.of(state) for state in found]


@post("/threads/{thread_id:str}/history", status_code=200, summary="The states of a thread, filtered")
async def post_history(thread_id: str, data: HistoryQuery, states: States, access: Access) -> list[StateView]:
    wanted, selection = read_id("thread", thread_id), read_selection(data.select)
    found = await states.history(
        access,
        await _readable(access, wanted),
        wanted,
        data.checkpoint or Checkpoint(),
        limit=HISTORY_LIMIT if data.limit is None else data.limit,
        before=_checkpoint_id(data.before),
        metadata=data.metadata,
    )
    return [selection.of(state) for state in found]


async def _readable(access: Access, thread_id: UUID) -> Scope:
    return await access.allow("threads", "read", {"thread_id": thread_id})


def _checkpoint_id(before: str | Before | None) -> str | None:
    if before is None or isinstance(before, str):
        return before
    return before.checkpoint_id if before.configurable is None else before.configurable.checkpoint_id


router = Router(
    "/",
    route_handlers=[get_state, get_state_at, post_state_at, update_state, get_history, post_history],
    tags=["state"],
)
