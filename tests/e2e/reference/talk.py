"""A conversation with a server over plain HTTP, every exchange kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

HEADERS = (
    "cache-control",
    "content-location",
    "content-type",
    "location",
    "x-accel-buffering",
    "x-pagination-next",
    "x-pagination-total",
)
TIMEOUT_SECS = 60.0
# The reference server closes the connection after some answers, without saying so.
NEW_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)

Event = tuple[str, Any]


@dataclass
class Exchange:
    """A request and its answer. `names`: what the detail of a refusal must speak of."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    names: str | None = None
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict[str, str])
    answer: Any = None
    events: list[Event] | None = None


class Talk:
    """Makes requests, and keeps them in the order in which they were begun."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.exchanges: list[Exchange] = []

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        names: str | None = None,
        kept: bool = True,
    ) -> Any:
        """One exchange; answers with the body, or the events of a stream."""
        exchange = Exchange(method, path, body, headers or {}, names)
        if kept:
            self.exchanges.append(exchange)
        async with self._sent(exchange) as response:
            if _streams(response):
                exchange.events = [event async for event in _events(response)]
                return exchange.events
            exchange.answer = _decoded(await response.aread())
            if exchange.answer is None:
                exchange.answer_headers.pop("content-type", None)  # what nothing is made of is all the same
            return exchange.answer

    async def get(self, path: str, **options: Any) -> Any:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self.call("POST", path, {} if body is None else body, **options)

    @asynccontextmanager
    async def following(
        self, path: str, body: Any = None, *, method: str = "POST"
    ) -> AsyncGenerator[Following]:
        """A stream that is read while other requests are made; the rest of it is read at the end."""
        exchange = Exchange(method, path, body, events=[])
        self.exchanges.append(exchange)
        async with self._sent(exchange) as response:
            following = Following(exchange, _events(response))
            yield following
            await following.rest()

    async def first(
        self,
        path: str,
        body: Any,
        last: Callable[[Event], bool],
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> list[Event]:
        """The first events of a stream that has no end, up to one of them."""
        exchange = Exchange(method, path, body, headers or {}, events=[])
        self.exchanges.append(exchange)
        told: list[Event] = []
        async with self._sent(exchange) as response, asyncio.timeout(TIMEOUT_SECS):
            async for event in _events(response):
                told.append(event)
                if last(event):
                    break
        exchange.events = told
        return told

    async def rested(self, thread: str) -> None:
        """Wait off the record until a thread has no run that is on."""
        for run in await self.get(f"{thread}/runs", kept=False):
            await self.ended(f"{thread}/runs/{run['run_id']}")

    async def thread(self) -> str:
        """A new thread, made off the record."""
        made = await self.post("/threads", kept=False)
        return f"/threads/{made['thread_id']}"

    async def run(self, thread: str, graph: str, given: Any = None, **body: Any) -> Any:
        """Run a graph on a thread and wait for its result."""
        return await self.post(f"{thread}/runs/wait", {"assistant_id": graph, "input": given, **body})

    async def stream(self, thread: str, graph: str, given: Any = None, **body: Any) -> Any:
        """Run a graph on a thread and follow it to its end."""
        return await self.post(f"{thread}/runs/stream", {"assistant_id": graph, "input": given, **body})

    async def begun(self, thread: str, graph: str, given: Any = None, **body: Any) -> str:
        """A run in the background; its path."""
        run = await self.post(f"{thread}/runs", {"assistant_id": graph, "input": given, **body})
        return f"{thread}/runs/{run['run_id']}"

    async def ended(self, run: str) -> None:
        """Wait off the record until a run has ended."""
        await self.get(f"{run}/join", kept=False)

    @asynccontextmanager
    async def _sent(self, exchange: Exchange) -> AsyncGenerator[httpx.Response]:
        content = exchange.body if isinstance(exchange.body, str) else None
        async with self._http.stream(
            exchange.method,
            exchange.path,
            json=None if content is not None else exchange.body,
            content=content,
            headers=dict(exchange.headers),
        ) as response:
            exchange.status = response.status_code
            exchange.answer_headers = {
                name: response.headers[name] for name in HEADERS if name in response.headers
            }
            yield response


class Following:
    """A stream in the hands of a scenario."""

    def __init__(self, exchange: Exchange, events: AsyncIterator[Event]) -> None:
        self._exchange = exchange
        self._events = events

    @property
    def run(self) -> str:
        """The path of the run that is followed."""
        return self._exchange.answer_headers["content-location"]

    async def until(self, name: str) -> None:
        """Read on to the next event of a name."""
        async with asyncio.timeout(TIMEOUT_SECS):
            async for event in self._events:
                self._keep(event)
                if event[0] == name:
                    return
        raise AssertionError(f"the stream ended without {name}")

    async def rest(self) -> None:
        async with asyncio.timeout(TIMEOUT_SECS):
            async for event in self._events:
                self._keep(event)

    def _keep(self, event: Event) -> None:
        cast("list[Event]", self._exchange.events).append(event)


def _streams(response: httpx.Response) -> bool:
    return response.headers.get("content-type", "").startswith("text/event-stream")


def _decoded(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return {"text": body.decode()}


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    """Names and data. Ids are each server's own; heartbeats are comments; no name means `message`."""
    name, data = "", ""
    async for line in _lines(response):
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ")
        elif not line and (name or data):
            yield name or "message", json.loads(data) if data else None
            name, data = "", ""


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines as the format of event streams has them: httpx ends lines at U+2028 and its like, too."""
    begun = b""
    async for piece in response.aiter_bytes():
        *lines, begun = (begun + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode()


@asynccontextmanager
async def talking(url: str) -> AsyncGenerator[Talk]:
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECS, limits=NEW_CONNECTIONS) as http:
        yield Talk(http)
