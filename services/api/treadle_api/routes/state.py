"""A thread's state and history."""

from __future__ import annotations

from litestar import Router, get, post

from treadle_api.bodies.fields import Checkpoint, QueryLimit
from treadle_api.bodies.states import Before, HistoryQuery, StateAt, StateUpdate
from treadle_api.ids import read_id
from treadle_api.operations.states import States
from treadle_api.views.states import StateView, UpdatedState

# As the protocol has it; clients ask for more.
HISTORY_LIMIT = 1


@get("/threads/{thread_id:str}/state", summary="The newest state")
async def get_state(
    thread_id: str, states: States, subgraphs: bool = False, checkpoint_id: str | None = None
) -> StateView:
    return await states.get(
        read_id("thread", thread_id), Checkpoint(checkpoint_id=checkpoint_id), subgraphs=subgraphs
    )


@get("/threads/{thread_id:str}/state/{checkpoint_id:str}", summary="The state at a checkpoint")
async def get_state_at(
    thread_id: str, checkpoint_id: str, states: States, subgraphs: bool = False
) -> StateView:
    return await states.get(
        read_id("thread", thread_id), Checkpoint(checkpoint_id=checkpoint_id), subgraphs=subgraphs
    )


@post(
    "/threads/{thread_id:str}/state/checkpoint",
    status_code=200,
    summary="The state at a checkpoint, be it a subgraph's",
)
async def post_state_at(thread_id: str, data: StateAt, states: States) -> StateView:
    return await states.get(read_id("thread", thread_id), data.checkpoint, subgraphs=bool(data.subgraphs))


@post("/threads/{thread_id:str}/state", status_code=200, summary="Update the state, as a node would")
async def update_state(thread_id: str, data: StateUpdate, states: States) -> UpdatedState:
    return await states.update(read_id("thread", thread_id), data)


@get("/threads/{thread_id:str}/history", summary="The states of a thread, newest first")
async def get_history(
    thread_id: str, states: States, limit: QueryLimit = HISTORY_LIMIT, before: str | None = None
) -> list[StateView]:
    wanted = read_id("thread", thread_id)
    return await states.history(wanted, Checkpoint(), limit=limit, before=before, metadata=None)


@post("/threads/{thread_id:str}/history", status_code=200, summary="The states of a thread, filtered")
async def post_history(thread_id: str, data: HistoryQuery, states: States) -> list[StateView]:
    return await states.history(
        read_id("thread", thread_id),
        data.checkpoint or Checkpoint(),
        limit=HISTORY_LIMIT if data.limit is None else data.limit,
        before=_checkpoint_id(data.before),
        metadata=data.metadata,
    )


def _checkpoint_id(before: str | Before | None) -> str | None:
    if before is None or isinstance(before, str):
        return before
    return before.checkpoint_id if before.configurable is None else before.configurable.checkpoint_id


router = Router(
    "/",
    route_handlers=[get_state, get_state_at, post_state_at, update_state, get_history, post_history],
    tags=["state"],
)
