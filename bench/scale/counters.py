"""What the servers themselves have counted, and the CPU and memory of each program."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.request import urlopen

import msgspec
import psutil
from redis.asyncio import Redis

from bench.cpu import cpu_seconds, program
from bench.scale.servers import WatchedNats
from treadle.db.pool import Pool, connect_pool
from treadle.dev.servers import Servers
from treadle.streaming import connect
from treadle.streaming.event import live_channel

# Statements by what they are for; the first that fits. `besides`: all that is no step of a run.
KINDS = {
    "heartbeat": "update treadle.lease l set lease_until%",
    "create": "%treadle.create_run%",
    "claim": "%treadle.claim(%",
    "finish": "%treadle.finish%",
    "checkpoints": "%treadle.write_checkpoints(%",
    "read": "%from checkpoints%",
}
OF_A_RUN = frozenset(KINDS) - {"heartbeat"}
COUNT = """
select query, sum(calls)::bigint as calls, sum(rows)::bigint as rows from pg_stat_statements(true)
 where query not like '%pg_stat%' group by query
"""
CONNECTIONS = """
select count(*) from pg_stat_activity where backend_type = 'client backend' and datname is not null
   and application_name <> 'treadle-counters'
"""
OURS = "counters"
COMMANDS = ("evalsha", "xadd", "pexpire", "publish", "subscribe", "unsubscribe")


class Counts(msgspec.Struct, frozen=True):
    """All counters at a moment (`time.monotonic()`), or what was added to them in so many seconds."""

    at: float
    counted: dict[str, float]
    cpu: dict[str, float]

    def since(self, before: Self) -> Counts:
        """What was added. Numbers of what there is at a moment, such as connections, are no use in it."""
        return Counts(
            self.at - before.at,
            {name: value - before.counted.get(name, 0.0) for name, value in self.counted.items()},
            {name: secs - before.cpu.get(name, 0.0) for name, secs in self.cpu.items()},
        )

    def rate(self, name: str) -> float:
        return self.counted.get(name, 0.0) / self.at


class Counters:
    """Reads the counters; has connections of its own to Postgres and to Valkey, which are not counted."""

    def __init__(self, nats: WatchedNats, database: Pool, redis: Redis) -> None:
        self._nats = nats
        self._database = database
        self._redis = redis

    @classmethod
    async def open(cls, servers: Servers, nats: WatchedNats) -> Self:
        # The second is for who looks on while all is read.
        database = await connect_pool(servers.postgres.url, size=2, service=OURS)
        await database.execute("create extension if not exists pg_stat_statements")
        return cls(nats, database, connect(servers.valkey.url))

    async def close(self) -> None:
        await self._redis.aclose()
        await self._database.close()

    async def read(self) -> Counts:
        """Everything, as it is now."""
        counted = {
            **await self._postgres(),
            **await self._valkey(),
            **await asyncio.to_thread(self._jetstream),
        }
        return Counts(time.monotonic(), counted, cpu_seconds(psutil.Process()))

    async def connections(self) -> int:
        """To Postgres."""
        return await self._database.fetchval(CONNECTIONS)

    async def running(self) -> int:
        """Leases that hold."""
        return await self._database.fetchval(
            "select count(*) from treadle.lease where lease_until > clock_timestamp()"
        )

    async def ended(self) -> int:
        return await self._database.fetchval("select count(*) from treadle.run where status = 'success'")

    async def failed(self) -> int:
        """Runs that ended otherwise, or were begun more than once."""
        return await self._database.fetchval(
            "select count(*) from treadle.run where attempt > 1 or status in ('error', 'timeout', 'interrupted')"
        )

    async def _postgres(self) -> dict[str, float]:
        found: defaultdict[str, float] = defaultdict(float)
        for row in await self._database.fetch(COUNT):
            kind = next((kind for kind, like in KINDS.items() if _is_like(row["query"], like)), "besides")
            found[f"sql {kind}"] += row["calls"]
            if kind == "heartbeat":
                found["sql leases"] += row["rows"]
        return {**found, "postgres connections": await self.connections()}

    async def _valkey(self) -> dict[str, float]:
        commands = await self._redis.info("commandstats")
        clients = await self._redis.info("clients")
        channels: list[bytes] = await self._redis.pubsub_channels(live_channel("*"))  # pyright: ignore
        listening: list[tuple[bytes, int]] = await self._redis.pubsub_numsub(*channels)  # pyright: ignore
        return {
            **{f"redis {name}": commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in COMMANDS},
            "redis connections": clients["connected_clients"] - 1,
            "redis subscriptions of runs": sum(number for _, number in listening),
        }

    def _jetstream(self) -> dict[str, float]:
        server = self._ask("/varz")
        found: defaultdict[str, float] = defaultdict(float)
        found["nats in"], found["nats connections"] = server["in_msgs"], server["connections"]
        for each in self._ask("/connz?limit=10000")["connections"]:
            found[f"nats in from {_whose(each['name'])}"] += each["in_msgs"]
        for stream in self._ask("/jsz?consumers=true")["account_details"][0]["stream_detail"]:
            found[f"{stream['name']} published"] = stream["state"]["last_seq"]
            for consumer in stream.get("consumer_detail") or ():
                name = stream["name"]
                found[f"{name} held"] += consumer["num_ack_pending"]
                found[f"{name} pulls open"] += consumer["num_waiting"]
                found[f"{name} waiting"] += consumer["num_pending"]
                found[f"{name} redelivered"] += consumer["num_redelivered"]
                found[f"{name} acknowledged"] += (
                    consumer["delivered"]["consumer_seq"] - consumer["num_ack_pending"]
                )
        return found

    def _ask(self, path: str) -> Any:
        with urlopen(self._nats.monitor + path) as answer:
            return json.load(answer)


def _is_like(query: str, like: str) -> bool:
    text = " ".join(query.split())
    return like.strip("%") in text if like.startswith("%") else text.startswith(like.rstrip("%"))


def _whose(name: str) -> str:
    if name.endswith("-leases"):
        return "leases"
    return name if name == "api" else "scheduler" if name.startswith("scheduler") else "workers"


def memory_mib() -> Mapping[str, float]:
    """What the processes of each program take in memory; what several share is divided among them (PSS)."""
    used: defaultdict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            used[program(process)] += process.memory_full_info().pss / 2**20
    return dict(used)
