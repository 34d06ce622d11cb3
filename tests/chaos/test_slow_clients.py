"""Clients that do not read cost the API next to nothing, nobody else anything, and are cut off after a while."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.chaos.listeners import IDS, UPGRADE, Listener, deaf, listen, masked, rest
from tests.chaos.raw import ask, resident_mib, sample
from tests.stack import Service, Stack, running_stack

GROWTH_MIB = 50.0
# Longer than all who read take together, on a busy machine too: whoever waits for one who never reads is through after that.
STALL_SECS = 10
PATIENCE_SECS = 30.0


@dataclass(frozen=True)
class Crowd:
    """So many runs, each followed by so many clients that read and so many that do not; events, and their bytes."""

    runs: int
    readers: int
    deaf: int
    count: int
    size: int


CROWDS = {
    "twenty runs": Crowd(runs=20, readers=20, deaf=5, count=250, size=2000),
    "one run": Crowd(runs=1, readers=400, deaf=100, count=500, size=2000),
    "large events": Crowd(runs=1, readers=40, deaf=60, count=6, size=1_000_000),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place() -> AsyncGenerator[Stack]:
    async with running_stack(
        "api", "worker", N_JOBS_PER_WORKER="30", TREADLE_STREAM_STALL_SECS=str(STALL_SECS)
    ) as place:
        yield place


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
async def test_those_who_never_read_take_no_memory_and_nothing_from_the_others(
    place: Stack, crowd: Crowd, tmp_path: Path
) -> None:
    api, worker = place.services("api")[0], place.services("worker")[0]
    await warm_up(api, crowd, tmp_path / "warm")
    cut = await metric(api, "treadle_streams_cut_total")
    async with AsyncExitStack() as stack, measured(api, worker) as growth:
        gate = tmp_path / "gate"
        paths = [await begin(api, crowd, gate) for _ in range(crowd.runs)]
        listeners = [await listen(api.port, path) for path in paths for _ in range(crowd.readers)]
        silent = [
            await stack.enter_async_context(deaf(api.port, path)) for path in paths for _ in range(crowd.deaf)
        ]
        await reached(api, "treadle_stream_clients", len(listeners) + len(silent))
        await told(gate, listeners)
        assert await metric(api, "treadle_streams_cut_total") == cut, "they waited for those who never read"
        for listener in listeners:
            assert listener.ids == all_ids(crowd)

        await reached(api, "treadle_streams_cut_total", cut + len(silent))
        await reached(api, "treadle_stream_clients", 0)
        await all_closed(api, silent)
        await resumed(api, paths[-1], silent[-1], crowd)
    assert max(growth.values()) < GROWTH_MIB, growth


async def test_every_kind_of_stream_is_cut_off_and_its_run_cancelled_if_the_client_wished_so(
    place: Stack, tmp_path: Path
) -> None:
    api = place.services("api")[0]
    cut = await metric(api, "treadle_streams_cut_total")
    thread = (await api.client.threads.create())["thread_id"]
    stream, where = f"/threads/{thread}/stream", f"/threads/{thread}/stream/events"
    endless = {"count": 10**9, "size": 2000, "gate": str(tmp_path)}
    run = {"assistant_id": "flooding", "input": endless, "stream_mode": ["custom"], "on_disconnect": "cancel"}
    wanted, loop = {"channels": ["custom"]}, asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        clients: list[socket.socket] = []

        async def follow(*request: Any, **headers: str) -> socket.socket:
            clients.append(await stack.enter_async_context(deaf(api.port, *request, **headers)))
            return clients[-1]

        await follow(stream)
        await follow(where, "POST", wanted)
        web = await follow(where, **UPGRADE)
        assert (await loop.sock_recv(web, 4096)).startswith(b"HTTP/1.1 101")
        await loop.sock_sendall(web, masked({"id": 1, "method": "subscription.subscribe", "params": wanted}))
        await reached(api, "treadle_stream_clients", 3)
        await follow(f"/threads/{thread}/runs/stream", "POST", run)

        await reached(api, "treadle_streams_cut_total", cut + 4)
        await reached(api, "treadle_stream_clients", 0)
        await all_closed(api, clients)
        async with asyncio.timeout(PATIENCE_SECS):
            [begun] = await api.client.runs.list(thread)
            await api.client.runs.join(thread, begun["run_id"])
    assert (await api.client.runs.get(thread, begun["run_id"]))["status"] == "interrupted"


async def warm_up(api: Service, crowd: Crowd, gate: Path) -> None:
    """The same runs and as many clients, all of which read: so that only what silence costs counts as growth."""
    paths = [await begin(api, crowd, gate) for _ in range(crowd.runs)]
    listeners = [await listen(api.port, path) for path in paths for _ in range(crowd.readers + crowd.deaf)]
    await told(gate, listeners)


async def told(gate: Path, listeners: Sequence[Listener]) -> None:
    """Let the runs flood their listeners until all of these have come to the end."""
    gate.touch()  # noqa: ASYNC240 - an empty file
    async with asyncio.timeout(PATIENCE_SECS):
        assert all(await asyncio.gather(*(listener.ended for listener in listeners)))


async def begin(api: Service, crowd: Crowd, gate: Path) -> str:
    """A run that floods its listeners when the gate opens; the path of its stream."""
    thread = (await api.client.threads.create())["thread_id"]
    what = {"count": crowd.count, "size": crowd.size, "gate": str(gate)}
    run = await api.client.runs.create(thread, "flooding", input=what, stream_mode=["custom"])
    return f"/threads/{thread}/runs/{run['run_id']}/stream"


def all_ids(crowd: Crowd) -> list[tuple[int, int]]:
    """The `metadata` event, and what the graph writes."""
    return [(1, number) for number in range(crowd.count + 1)]


async def resumed(api: Service, path: str, client: socket.socket, crowd: Crowd) -> None:
    """Who was cut off finds in its buffer what it may go on from, and gets the rest."""
    seen = [(int(each[1]), int(each[2])) for each in IDS.finditer(await rest(client))]
    last = "-".join(map(str, seen[-1])) if seen else "-1"
    listener = await listen(api.port, path, last_event_id=last)
    assert await listener.ended
    assert seen + listener.ids == all_ids(crowd)
    assert len(listener.ids) > 0


@asynccontextmanager
async def measured(*services: Service) -> AsyncGenerator[dict[str, float]]:
    """How much memory services have more at the most, in MiB, while the block lasts."""
    before = {service: resident_mib(service.pid) for service in services}
    growth = {service.name: 0.0 for service in services}

    async def watch() -> None:
        while True:
            for service in services:
                growth[service.name] = max(growth[service.name], resident_mib(service.pid) - before[service])
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch(), name="memory")
    try:
        yield growth
    finally:
        watching.cancel()


async def metric(api: Service, series: str) -> float:
    return sample((await ask(api.port, "GET", "/metrics")).body.decode(), series)


async def reached(api: Service, series: str, value: float) -> None:
    """Wait until a metric has this value."""
    async with asyncio.timeout(PATIENCE_SECS):
        while await metric(api, series) != value:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


async def all_closed(api: Service, clients: Sequence[socket.socket]) -> None:
    """Wait until the API has given up its ends of these connections, whose other ends are still open."""
    process, ports = psutil.Process(api.pid), {client.getsockname()[1] for client in clients}
    async with asyncio.timeout(PATIENCE_SECS):
        while not ports.isdisjoint(each.raddr[1] for each in process.net_connections("tcp") if each.raddr):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
