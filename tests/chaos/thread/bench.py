"""The product's own parts on real servers, as API, workers and scheduler put them together, for one thread at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import nats.js.errors

from tests.chaos.thread.graph import GRAPH_ID, Begun, graph
from tests.chaos.thread.model import LEASE_SECS, MAX_CRASHES
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.checkpoint.savers import PostgresSavers
from treadle.db.assistants import Assistants
from treadle.db.pool import Pool, connect_pool
from treadle.db.queue import Queue
from treadle.db.runs import Lease, Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.db.together import Maker
from treadle.dev.servers import Servers
from treadle.messaging.connection import Nats
from treadle.messaging.delays import Schedules
from treadle.messaging.inbox import Inbox
from treadle.messaging.subjects import RUNS_STREAM
from treadle.messaging.wakeups import Delivery, WakeupPublisher, ensure_consumer, ensure_stream, wakeup_inbox
from treadle.model import DEFAULT_TENANT
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.create import Creation
from treadle.operations.first_wakeups import FirstWakeups
from treadle.operations.wakeups import Wakeups
from treadle.streaming import StreamLimits, connect
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle.webhooks.policy import WebhookPolicy

POOL_SIZE = 6
ROUTE = "default"
ANSWER_SECS = 10.0
LEASE = Lease("worker", secs=LEASE_SECS, max_crashes=MAX_CRASHES)


def lease_alone(name: str) -> Lease:
    """What a process asks for that is alone with its run."""
    return Lease(name, secs=LEASE_SECS, max_crashes=MAX_CRASHES, alone=True)


# All that has a moment, put back: as if that much time had passed since.
LET_PASS = """
with passed as (select make_interval(secs => $2) as by),
threads as (
    update treadle.thread set created_at = created_at - by, updated_at = updated_at - by,
           state_updated_at = state_updated_at - by
      from passed where thread_id = $1
), leases as (
    update treadle.lease l set lease_until = lease_until - by
      from passed, treadle.run r where l.run_id = r.run_id and r.thread_id = $1
)
update treadle.run set created_at = created_at - by, updated_at = updated_at - by, not_before = not_before - by,
       started_at = started_at - by, ended_at = ended_at - by
  from passed where thread_id = $1
"""


# Every change of a run is noted (0011_run_events.sql) where it is made, with all locks that it needs in hand, or so it should be.
LINGER = """
create function treadle.linger() returns trigger language plpgsql as $$
begin
    perform pg_sleep(random() * 0.005);
    return null;
end $$;
create trigger linger after insert on treadle.run_event for each row execute function treadle.linger();
alter table treadle.run_event disable trigger linger;
"""


@dataclass
class Bench:
    """Everything that an example works with; only the thread is new for each."""

    pool: Pool
    checkpoints: ConnectionPool
    nats: Nats
    publisher: WakeupPublisher
    inbox: Inbox[Delivery]
    runs: Runs
    threads: Threads
    queue: Queue
    creation: Creation
    savers: PostgresSavers
    metrics: Metrics
    begun: list[Begun]
    graph: Any
    thread_id: UUID = field(default_factory=uuid4)

    async def new_thread(self) -> UUID:
        """Begin with an empty thread."""
        self.thread_id = uuid4()
        self.begun.clear()
        await self.threads.create(Maker(DEFAULT_TENANT), self.thread_id, {})
        return self.thread_id

    async def let_pass(self, secs: float) -> None:
        """Let time pass on the database's clock, as far as this thread can tell."""
        await self.pool.execute(LET_PASS, self.thread_id, secs)

    async def linger(self, *, wanted: bool) -> None:
        """Let transactions that change a run stop for a moment in the middle, as others may do something meanwhile."""
        able = "enable" if wanted else "disable"
        await self.pool.execute(f"alter table treadle.run_event {able} trigger linger")

    async def settle(self, delivery: Delivery, answer: bytes) -> None:
        """Answer for a message, be it in one's hands still or not, and wait until JetStream has heard it."""
        await self.nats.client.request(delivery.ack_subject, answer, timeout=ANSWER_SECS)

    async def has(self, place: int) -> bool:
        """Whether the stream still has the message at a place."""
        try:
            await self.nats.client.jetstream().get_msg(RUNS_STREAM, place)
        except nats.js.errors.NotFoundError:
            return False
        return True

    async def waiting(self) -> int:
        """How many messages the stream has, on their way or in somebody's hands."""
        return (await self.nats.client.jetstream().stream_info(RUNS_STREAM)).state.messages

    async def clear_away(self) -> None:
        """Leave nothing of this thread to the next."""
        await self.threads.delete(EVERYWHERE, [self.thread_id])
        for table in ("run_event", "webhook", "dead_letter"):
            await self.pool.execute(f"delete from treadle.{table} where thread_id = $1", self.thread_id)
        await self.nats.client.jetstream().purge_stream(RUNS_STREAM)


@asynccontextmanager
async def open_bench(servers: Servers) -> AsyncGenerator[Bench]:
    """Connect to servers on which the schema is in place."""
    async with AsyncExitStack() as stack:
        pool = await connect_pool(servers.postgres.url, size=POOL_SIZE, service="model")
        stack.push_async_callback(pool.close)
        checkpoints = await stack.enter_async_context(
            checkpoint_pool(servers.postgres.url, size=POOL_SIZE, service="model")
        )
        connection = Nats(servers.nats.url, name="model")
        await connection.connect()
        stack.push_async_callback(connection.close)
        redis = connect(servers.valkey.url)
        stack.push_async_callback(redis.aclose)
        stream = connection.client.jetstream()
        await ensure_stream(stream, 1)
        await ensure_consumer(stream, ROUTE, lease_secs=LEASE_SECS, max_pending=1000)
        await pool.execute(LINGER)
        await Assistants(pool).register({GRAPH_ID: None})
        publisher, runs, metrics, begun = WakeupPublisher(connection, 1), Runs(pool), Metrics(), list[Begun]()
        creation = Creation(
            AssistantChoice({GRAPH_ID}, Assistants(pool)),
            runs,
            FirstWakeups(Wakeups(publisher, None), metrics, Tracing()),
            Schedules(connection, 1, wanted=False),
            Cancellation(runs, redis, StreamLimits()),
            WebhookPolicy(None),
            metrics,
            Tracing(),
            None,
        )
        inbox = wakeup_inbox(connection.client, ROUTE)
        stack.push_async_callback(inbox.close)
        yield Bench(
            pool=pool,
            checkpoints=checkpoints,
            nats=connection,
            publisher=publisher,
            inbox=inbox,
            runs=runs,
            threads=Threads(pool),
            queue=Queue(pool),
            creation=creation,
            savers=PostgresSavers(checkpoints, pool),
            metrics=metrics,
            begun=begun,
            graph=graph(begun),
        )
