#!/usr/bin/env python3
"""Load generator for any server that speaks the Agent Server HTTP API.

Drives real HTTP and SSE against one or two base URLs and prints one JSON object per scenario and server. With two
URLs the scenarios alternate between the servers (A B A B ...) and the ratio of the medians is printed, so that a
drift of the machine's speed cancels out.

    python bench/load.py [--only single_wait,burst] [--rounds 3] http://127.0.0.1:2024 [http://127.0.0.1:8000]

The servers must serve the graphs of bench/graphs.py, or the same shapes under the same ids. Stands alone: it needs
nothing but aiohttp, and talks to nothing but the URLs that it is given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar

import aiohttp

TERMINAL = {"success", "error", "timeout", "interrupted"}
REQUEST_SECS = 180
MOST_OF_A_BODY = 300

T = TypeVar("T")
# What one pass of a scenario measured, by name; the name ends in the unit.
Figures = dict[str, float]


class Loop(NamedTuple):
    """A closed loop: so many clients own a thread each, and run it again and again, waiting for each output."""

    graph: str
    clients: int
    per_client: int

    @property
    def runs(self) -> int:
        return self.clients * self.per_client


LOOPS = {
    # One run at a time: the latency floor of a whole run.
    "single_wait": Loop("echo", clients=1, per_client=40),
    "wait_runs": Loop("echo", clients=16, per_client=25),
    # A graph of five steps: what checkpointing each step costs.
    "chain": Loop("chain", clients=8, per_client=12),
}
BURST_RUNS = 500
HOT_RUNS = 40
ONE_STREAM_EVENTS = 3000
STREAMS, STREAM_EVENTS = 40, 100
INPUT: dict[str, Any] = {"items": ["q"]}


class ScenarioFailed(Exception):
    """The server refused a request, could not be reached, or did not do what the scenario asked for."""


class Client:
    """As little between the scenario and the wire as possible."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base.rstrip("/")
        self._session = session

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer.

        Raises:
            ScenarioFailed: the server refused the request.
        """
        async with self._session.request(method, self.base + path, json=body) as response:
            await _refuse_error(response)
            text = await response.text()
            return json.loads(text) if text else None

    async def new_thread(self) -> str:
        return (await self.call("POST", "/threads", {}))["thread_id"]

    @asynccontextmanager
    async def stream(self, path: str, body: object) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An answer that stays open; raises as `call` does."""
        async with self._session.post(self.base + path, json=body) as response:
            await _refuse_error(response)
            yield response

    async def events(self, path: str, body: object) -> AsyncGenerator[tuple[float, str, str]]:
        """The events of one SSE response: when each came, its name, its data."""
        async with self.stream(path, body) as response:
            rest = b""
            # By blocks as they come, not line by line: the generator runs on the same cores as what it measures.
            async for chunk in response.content.iter_any():
                at = time.perf_counter()
                *blocks, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
                for block in blocks:
                    event, data = _parsed(block.decode())
                    if data:
                        yield at, event, "\n".join(data)


def _parsed(block: str) -> tuple[str, list[str]]:
    """The name of an SSE event and the lines of its data; a comment has none."""
    event, data = "message", list[str]()
    for line in block.split("\n"):
        if line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].lstrip())
    return event, data


async def _refuse_error(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = (await response.text())[:MOST_OF_A_BODY]
        raise ScenarioFailed(f"{response.method} {response.url.path}: {response.status} {text}")


async def together(calls: Iterable[Callable[[], Awaitable[T]]], limit: int | None = None) -> list[T]:
    """The results of all calls, of which at most `limit` are under way at once; the first failure ends them all."""
    calls = list(calls)
    gate = asyncio.Semaphore(limit or len(calls))

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await call()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


def percentile(values: Iterable[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


async def closed_loop(
    loop: Loop, open_thread: Callable[[], Awaitable[Callable[[], Awaitable[object]]]]
) -> Figures:
    """Play a closed loop. `open_thread` answers with what runs that thread once."""
    laps: list[float] = []

    async def client() -> None:
        run = await open_thread()
        for _ in range(loop.per_client):
            start = time.perf_counter()
            await run()
            laps.append(time.perf_counter() - start)

    start = time.perf_counter()
    await together([client] * loop.clients)
    took = time.perf_counter() - start
    return {
        "runs_per_s": len(laps) / took,
        "p50_ms": 1e3 * percentile(laps, 0.5),
        "p99_ms": 1e3 * percentile(laps, 0.99),
    }


async def wait_runs(client: Client, loop: Loop) -> Figures:
    """Closed loop over HTTP."""
    body = {"assistant_id": loop.graph, "input": INPUT}

    async def open_thread() -> Callable[[], Awaitable[object]]:
        thread = await client.new_thread()
        return lambda: client.call("POST", f"/threads/{thread}/runs/wait", body)

    return await closed_loop(loop, open_thread)


def over_http(loop: Loop) -> Callable[[Client], Awaitable[Figures]]:
    return lambda client: wait_runs(client, loop)


async def burst(client: Client, runs: int = BURST_RUNS, clients: int = 32) -> Figures:
    """Open loop: create many background runs on as many threads at once, then wait until all have ended."""
    threads = await together([client.new_thread] * runs, clients)
    body = {"assistant_id": "echo", "input": INPUT}

    def create(thread: str) -> Callable[[], Awaitable[Any]]:
        return lambda: client.call("POST", f"/threads/{thread}/runs", body)

    def end(thread: str, run: str) -> Callable[[], Awaitable[str]]:
        return lambda: ended(client, thread, run, poll=0.1)

    start = time.perf_counter()
    created = await together(map(create, threads), clients)
    accepted = time.perf_counter() - start
    ends = [end(thread, run["run_id"]) for thread, run in zip(threads, created, strict=True)]
    # Ask for the newest first: when it has ended most have, so that polling costs the server little.
    await ends[-1]()
    statuses = await together(ends, 8)
    took = time.perf_counter() - start
    return {
        "accepted_per_s": runs / accepted,
        "runs_per_s": runs / took,
        "succeeded": statuses.count("success") / runs,
    }


async def hot_thread(client: Client, runs: int = HOT_RUNS) -> Figures:
    """Queue many runs on one thread: they must end one after the other, in order."""
    thread = await client.new_thread()
    asked = [f"q{index}" for index in range(runs)]
    newest = ""
    start = time.perf_counter()
    for item in asked:
        body = {"assistant_id": "echo", "input": {"items": [item]}, "multitask_strategy": "enqueue"}
        newest = (await client.call("POST", f"/threads/{thread}/runs", body))["run_id"]
    await ended(client, thread, newest, poll=0.02)
    took = time.perf_counter() - start
    state = await client.call("GET", f"/threads/{thread}/state")
    answered = [item for item in state["values"]["items"] if item.startswith("q")]
    return {"runs_per_s": runs / took, "in_order": float(answered == asked)}


async def ended(client: Client, thread: str, run: str, poll: float) -> str:
    """The status of a background run, once it has ended."""
    path = f"/threads/{thread}/runs/{run}"
    while (status := (await client.call("GET", path))["status"]) not in TERMINAL:  # noqa: ASYNC110 - as a client must
        await asyncio.sleep(poll)
    return status


async def stream_one(client: Client, n: int = ONE_STREAM_EVENTS) -> Figures:
    """One stream, as fast as it goes."""
    first, rate = await one_stream(client, n)
    return {"first_event_ms": 1e3 * first, "events_per_s": rate}


async def stream_many(client: Client, streams: int = STREAMS, n: int = STREAM_EVENTS) -> Figures:
    """Many streams at once."""
    start = time.perf_counter()
    results = await together([lambda: one_stream(client, n)] * streams)
    took = time.perf_counter() - start
    firsts = [first for first, _ in results]
    return {"first_event_p50_ms": 1e3 * percentile(firsts, 0.5), "events_per_s": streams * n / took}


async def one_stream(client: Client, n: int) -> tuple[float, float]:
    """Seconds to the first of n events, and events per second from the request to the last."""
    thread = await client.new_thread()
    body = {"assistant_id": "stream", "input": {"n": n, "delay": 0.0}, "stream_mode": ["custom"]}
    came: list[float] = []
    start = time.perf_counter()
    async with aclosing(client.events(f"/threads/{thread}/runs/stream", body)) as events:
        async for at, event, data in events:
            if event == "custom":
                came.append(at)
            elif event == "error":
                raise ScenarioFailed(data[:MOST_OF_A_BODY])
    if len(came) != n:
        raise ScenarioFailed(f"{len(came)} of {n} events arrived")
    return came[0] - start, n / max(came[-1] - start, 1e-9)


SCENARIOS: dict[str, Callable[[Client], Awaitable[Figures]]] = {
    **{name: over_http(loop) for name, loop in LOOPS.items()},
    "burst": burst,
    "hot_thread": hot_thread,
    "stream_one": stream_one,
    "stream_many": stream_many,
}
# The runs of one pass.
RUNS = {
    **{name: loop.runs for name, loop in LOOPS.items()},
    "burst": BURST_RUNS,
    "hot_thread": HOT_RUNS,
    "stream_one": 1,
    "stream_many": STREAMS,
}


async def play(name: str, client: Client) -> Figures:
    """One pass of a scenario.

    Raises:
        ScenarioFailed: with the scenario, the server and the reason.
    """
    with failures_named(name, client):
        return await SCENARIOS[name](client)


async def warm_up(client: Client) -> None:
    """The first run of a graph loads code, which is no part of what is measured.

    Raises:
        ScenarioFailed: with the server and the reason.
    """
    with failures_named("the warm-up", client):
        for graph in ("echo", "chain"):
            await wait_runs(client, Loop(graph, clients=2, per_client=3))
        await one_stream(client, 10)


@contextmanager
def failures_named(what: str, client: Client) -> Generator[None]:
    try:
        yield
    except (ScenarioFailed, aiohttp.ClientError) as error:
        raise ScenarioFailed(f"{what} on {client.base}: {error}") from error
    except TimeoutError as error:
        late = f"a request was not answered within {REQUEST_SECS} s"
        raise ScenarioFailed(f"{what} on {client.base}: {late}") from error


def medians(rounds: Sequence[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


@asynccontextmanager
async def open_clients(urls: Iterable[str], headers: dict[str, str]) -> AsyncGenerator[list[Client]]:
    """Clients without a limit of connections: the scenario alone decides how many requests are under way."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=headers) as session:
        yield [Client(url, session) for url in urls]


async def compare(name: str, clients: Sequence[Client], rounds: int) -> None:
    """Play a scenario on each server in turn, and print what came out."""
    played: list[list[Figures]] = [[] for _ in clients]
    for _ in range(rounds):
        for results, client in zip(played, clients, strict=True):
            results.append(await play(name, client))
    middle = [medians(results) for results in played]
    for client, figures in zip(clients, middle, strict=True):
        _print({"scenario": name, "server": client.base, **{k: round(v, 2) for k, v in figures.items()}})
    if len(middle) == 2:
        a, b = middle
        _print({"scenario": name, "ratio A/B": {key: round(a[key] / b[key], 2) for key in a if b[key]}})


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """The names in a comma-separated list, each once, for argparse."""

    def names(text: str) -> list[str]:
        chosen = list(dict.fromkeys(text.split(",")))
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return chosen

    return names


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return number


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("urls", nargs="+", help="one server, or two to compare (A then B)")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument(
        "--only", type=some_of(list(SCENARIOS)), default=list(SCENARIOS), help="scenarios, comma-separated"
    )
    parser.add_argument("--header", action="append", default=[], help="Name: value, sent with every request")
    return parser.parse_args()


async def main() -> None:
    options = _options()
    headers = dict(header.split(": ", 1) for header in options.header)
    async with open_clients(options.urls, headers) as clients:
        for client in clients:
            await warm_up(client)
        for name in options.only:
            await compare(name, clients, options.rounds)


def new_loop() -> asyncio.AbstractEventLoop:
    """The quickest one that is installed."""
    try:
        import uvloop  # noqa: PLC0415 - not everyone who runs this file has it
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    except ScenarioFailed as failure:
        sys.exit(f"load.py: {failure}")
