"""One round: servers, services, load, faults, rest, evidence."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import psutil

from tests.chaos import audit, quiescence
from tests.chaos.evidence import Evidence, Struck
from tests.chaos.fault import Fault
from tests.chaos.faults.servers import Outage
from tests.chaos.load import open_load
from tests.chaos.plan import Scale, Strike, scripts
from tests.chaos.proxy import Proxy
from tests.chaos.record import Record
from tests.chaos.settings import SETTINGS
from tests.chaos.site import Between, Site, now, opened
from tests.chaos.witness import Witness, open_witness
from tests.stack import Stack, running_stack

WORKERS, APIS, SCHEDULERS = 3, 2, 2
PROGRESS_SECS = 5.0
STRIKE_AGAIN_SECS = 3.0


@dataclass(frozen=True)
class Round:
    """What is to be done; the same seed, scale and strikes make the same round."""

    seed: int
    scale: Scale
    strikes: Sequence[Strike]


async def play(planned: Round, say: Any = print) -> Evidence:
    """Do it, and return all that is known of it afterwards."""
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    async with open_witness() as witness, running_stack(CHAOS_WITNESS=witness.url, **SETTINGS) as stack:
        async with stack.database() as database:
            await audit.install(database)
        evidence = await _on(stack, witness, planned, say)
    evidence.left |= quiescence.processes_left(before)
    return evidence


async def _on(stack: Stack, witness: Witness, planned: Round, say: Any) -> Evidence:
    async with AsyncExitStack() as exits:
        links = await proxies(exits, stack, planned, lambda: site)
        numbers = {"worker": WORKERS, "api": APIS, "scheduler": SCHEDULERS}
        site = await exits.enter_async_context(
            opened(stack, links, outage_secs=planned.scale.outage_secs, **numbers)
        )
        record = Record()
        load = await exits.enter_async_context(
            open_load(site, record, scripts(planned.seed, planned.scale), planned.scale)
        )
        site.bring_in, site.streams_open = load.bring_in, record.open_at
        await load.prepare()
        created = await _before(site)
        struck = await _storm(site, planned, load.run(), record, say)
        return await _after(site, witness, planned, record, struck, created)


async def proxies(
    exits: AsyncExitStack, stack: Stack, planned: Round, site: Callable[[], Site]
) -> dict[Between, Proxy]:
    """A proxy for each connection that a fault of this round needs to lead through one."""
    targets: dict[str, Callable[[], str]] = {
        "postgres": lambda: stack.servers.postgres.url,
        "nats": lambda: stack.servers.nats.url,
        "valkey": lambda: stack.servers.valkey.url,
        "api": lambda: site().linked("api").url,
    }
    needed = {link for strike in planned.strikes for link in strike.fault.links}
    return {
        link: await exits.enter_async_context(
            Proxy(targets[link[1]], random.Random(f"{planned.seed}/proxy/{link}")).listening()
        )
        for link in sorted(needed)
    }


async def _before(site: Site) -> Any:
    """Leave marks by which a server that lost its data is known."""
    async with quiescence.redis_of(site) as redis:
        await redis.set(quiescence.CANARY, "alive", ex=3600)
    async with quiescence.nats_of(site) as client, asyncio.timeout(20):
        while True:
            try:
                return await quiescence.events_created(client)
            except quiescence.NotFoundError:
                await asyncio.sleep(0.1)


async def _storm(site: Site, planned: Round, load: Any, record: Record, say: Any) -> list[Struck]:
    """The load and the faults, side by side; returns when both are over."""
    struck: list[Struck] = []
    began = time.monotonic()

    def tell(what: str) -> None:
        say(f"  {time.monotonic() - began:5.1f} s  {what}")

    async def once(fault: Fault, chance: random.Random) -> str:
        """What it hit."""
        async with turn(site, fault):
            since, hit = now(), ""
            try:
                hit = await fault.strike(site, chance)
            except Exception as error:  # noqa: BLE001 - it is a finding like others, and the round goes on
                record.problems.append(f"{fault.name} failed: {error!r}")
            struck.append(Struck(fault.name, since, now(), hit))
            return hit

    async def strike(n: int, planned_strike: Strike) -> None:
        """One that hits nobody, since another fault has taken them away, strikes again while there is load."""
        await asyncio.sleep(planned_strike.at)
        fault, chance = planned_strike.fault, random.Random(f"{planned.seed}/strike/{n}")
        tell(fault.name)
        while not (hit := await once(fault, chance)) and not loading.done():
            await asyncio.wait({loading}, timeout=STRIKE_AGAIN_SECS)
        tell(f"{fault.name}: over, hit {hit or 'nobody'}")

    async def progress() -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECS)
            accepted = sum(asked.outcome in ("accepted", "stored") for asked in record.asked)
            tell(f"{accepted} runs accepted")

    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(progress(), name="progress")
        loading = tasks.create_task(load, name="load")
        striking = [
            tasks.create_task(strike(n, each), name=f"strike {each.fault.name}")
            for n, each in enumerate(planned.strikes)
        ]
        await asyncio.gather(loading, *striking)
        telling.cancel()
    return struck


def turn(site: Site, fault: Fault) -> AbstractAsyncContextManager[Any]:
    """Faults that stop the same server or spoil the same link take turns; all others strike together."""
    if fault.links:
        return site.turn(str(sorted(fault.links)))
    return site.turn(fault.name.partition(":")[0]) if isinstance(fault, Outage) else nullcontext()


async def _after(
    site: Site, witness: Witness, planned: Round, record: Record, struck: list[Struck], created: Any
) -> Evidence:
    restless = await quiescence.at_rest(site, planned.scale.rest_secs)
    async with site.stack.database() as database:
        history = await audit.read(database)
        left = await quiescence.rows_left(database)
    async with quiescence.nats_of(site) as client:
        published = await quiescence.published(client, created)
        left |= await quiescence.messages_left(client)
    async with quiescence.redis_of(site) as redis:
        left |= await quiescence.keys_left(redis)
        streams = await quiescence.streams_of(redis, list(history.runs))
        lost = await redis.get(quiescence.CANARY) is None
    states = await quiescence.states_of(site.apis[0].client, list(history.threads))
    return Evidence(
        record=record,
        history=history,
        marks=await witness.marks(),
        states=states,
        streams=streams,
        published=published,
        left=left,
        struck=struck,
        deaths=list(site.deaths),
        freezes=list(site.freezes),
        logs={
            f"{service.name}-{service.pid}": service.log
            for name in ("api", "worker", "scheduler")
            for service in site.stack.services(name)
        },
        restless=restless,
        redis_lost=lost,
    )
