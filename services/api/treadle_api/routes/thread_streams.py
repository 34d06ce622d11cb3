"""The stream of a thread: all its runs, one after the other."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get
from litestar.openapi import ResponseSpec
from litestar.params import Parameter
from litestar.types import ASGIApp

from treadle.operations.ids import read_id
from treadle_api.access.access import Access
from treadle_api.open_answers import STAYS_OPEN
from treadle_api.operations.thread_streams import ThreadStreams, parse_modes, parse_place

EVENTS = ResponseSpec(
    str,
    description="Server-sent events until the client goes, each with its id.",
    media_type="text/event-stream",
    generate_examples=False,
)


@get(
    "/threads/{thread_id:str}/stream",
    responses={200: EVENTS},
    opt=STAYS_OPEN,
    summary="Join a thread's stream: its runs that are on and all that come after them",
)
async def join_thread(
    thread_id: str,
    thread_streams: ThreadStreams,
    access: Access,
    stream_mode: Annotated[list[str] | None, Parameter(query="stream_mode")] = None,
    stream_modes: Annotated[list[str] | None, Parameter(query="stream_modes")] = None,
    last_event_id: Annotated[str | None, Parameter(header="last-event-id")] = None,
) -> ASGIApp:
    """`stream_mode` (what the SDK sends) and `stream_modes` (what the protocol documents) say the same."""
    thread = read_id("thread", thread_id)
    return await thread_streams.join(
        await access.allow("threads", "read", {"thread_id": thread}),
        thread,
        parse_place(last_event_id),
        parse_modes([*(stream_mode or ()), *(stream_modes or ())]),
    )


router = Router("/", route_handlers=[join_thread], tags=["threads"])
