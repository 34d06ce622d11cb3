"""The event streaming protocol: commands, and events over SSE."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, Router, post, websocket
from litestar.openapi import ResponseSpec
from litestar.params import Parameter
from litestar.types import ASGIApp

from treadle.errors import InvalidRequest
from treadle.operations.ids import read_id
from treadle_api.operations.thread_streams import parse_place
from treadle_api.protocol.commands import ProtocolCommands, Refused, id_of, read_command, refusal
from treadle_api.protocol.filters import EventFilter, check_channels
from treadle_api.protocol.socket import REFUSED, AnySocket, ProtocolSocket
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
async def command(thread_id: str, data: Any, protocol_commands: ProtocolCommands) -> Response[dict[str, Any]]:
    thread = read_id("thread", thread_id)
    try:
        envelope = read_command(data)
    except Refused as error:
        return Response(refusal(id_of(data), error), status_code=400)
    return Response(await protocol_commands.execute(thread, envelope))


@post(
    "/threads/{thread_id:str}/stream/events",
    status_code=200,
    responses={200: EVENTS},
    summary="A thread's events by channel and namespace",
)
async def stream_events(
    thread_id: str,
    data: EventFilter,
    protocol_streams: ProtocolStreams,
    last_event_id: Annotated[str | None, Parameter(header="last-event-id")] = None,
) -> ASGIApp:
    thread = read_id("thread", thread_id)
    check_channels(data)
    if data.since is None:
        data.since = parse_place(last_event_id)
    return protocol_streams.sse(thread, data)


@websocket("/threads/{thread_id:str}/stream/events")
async def events_socket(
    thread_id: str,
    socket: AnySocket,
    protocol_commands: ProtocolCommands,
    protocol_streams: ProtocolStreams,
) -> None:
    await socket.accept()
    try:
        thread = read_id("thread", thread_id)
    except InvalidRequest as error:
        await socket.close(REFUSED + error.status, str(error)[:100])
        return
    await ProtocolSocket(socket, thread, protocol_commands, protocol_streams).serve()


router = Router("/", route_handlers=[command, stream_events, events_socket], tags=["protocol"])
