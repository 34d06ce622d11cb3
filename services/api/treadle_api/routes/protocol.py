"""The event streaming protocol: commands, and events over SSE."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, Router, post, websocket
from litestar.openapi import ResponseSpec
from litestar.params import Parameter
from litestar.types import ASGIApp

from treadle.errors import InvalidRequest
from treadle.operations.ids import read_id
from treadle.wire.limits import BodyLimits
from treadle_api.access.access import Access
from treadle_api.open_answers import STAYS_OPEN, AnySocket
from treadle_api.operations.thread_streams import parse_place
from treadle_api.protocol.commands import ProtocolCommands, Refused, id_of, read_command, refusal
from treadle_api.protocol.filters import EventFilter, check_channels
from treadle_api.protocol.socket import REFUSED, ProtocolSocket
from treadle_api.protocol.streams import ProtocolStreams

EVENTS = ResponseSpec(
    str,
    description="Server-sent events until the client goes. Each is named by its method, and its id is its `seq`.",
    media_type="text/event-stream",
    generate_examples=False,
)
ANSWER = ResponseSpec(
    dict[str, Any], description="The result, or an error of the command.", generate_examples=False
)
MALFORMED = ResponseSpec(dict[str, Any], description="This is no command.", generate_examples=False)


@post(
    "/threads/{thread_id:str}/commands",
    status_code=200,
    responses={200: ANSWER, 400: MALFORMED},
    summary="A command of the event streaming protocol",
)
async def command(
    thread_id: str, data: Any, protocol_commands: ProtocolCommands, access: Access
) -> Response[dict[str, Any]]:
    thread = read_id("thread", thread_id)
    try:
        envelope = read_command(data)
    except Refused as error:
        return Response(refusal(id_of(data), error), status_code=400)
    return Response(await protocol_commands.execute(access, thread, envelope))


@post(
    "/threads/{thread_id:str}/stream/events",
    status_code=200,
    responses={200: EVENTS},
    opt=STAYS_OPEN,
    summary="A thread's events by channel and namespace",
)
async def stream_events(
    thread_id: str,
    data: EventFilter,
    protocol_streams: ProtocolStreams,
    access: Access,
    last_event_id: Annotated[str | None, Parameter(header="last-event-id")] = None,
) -> ASGIApp:
    thread = read_id("thread", thread_id)
    check_channels(data)
    if data.since is None:
        data.since = parse_place(last_event_id)
    return await protocol_streams.sse(access, thread, data)


@websocket("/threads/{thread_id:str}/stream/events", opt=STAYS_OPEN)
async def events_socket(
    thread_id: str,
    socket: AnySocket,
    protocol_commands: ProtocolCommands,
    protocol_streams: ProtocolStreams,
    limits: BodyLimits,
    access: Access,
) -> None:
    await socket.accept()
    try:
        thread = read_id("thread", thread_id)
    except InvalidRequest as error:
        await socket.close(REFUSED + error.status, str(error)[:100])
        return
    await ProtocolSocket(socket, access, thread, protocol_commands, protocol_streams, limits).serve()


router = Router("/", route_handlers=[command, stream_events, events_socket], tags=["protocol"])
