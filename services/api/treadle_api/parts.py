"""The API, put together: every part is built here, once, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from treadle.checkpoint.pruning import Pruning
from treadle.db.assistants import Assistants
from treadle.db.checkpoints import Checkpoints
from treadle.db.crons import Crons
from treadle.db.pool import Pool, PoolWait
from treadle.db.queue import Queue
from treadle.db.runs import Runs
from treadle.db.tasks import TaskRuns
from treadle.db.thread_search import ThreadSearch
from treadle.db.threads import Threads
from treadle.db.tools import ToolNames
from treadle.db.turns import TurnRows
from treadle.graphs.http import Http
from treadle.identity import IdentityVerifier
from treadle.messaging.access import NatsAccess
from treadle.messaging.connection import Nats
from treadle.messaging.dead_letters import DeadLetters
from treadle.messaging.delays import Schedules
from treadle.messaging.wakeups import WakeupPublisher
from treadle.operations.approvals import Approvals
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.create import Creation
from treadle.operations.first_wakeups import FirstWakeups
from treadle.operations.priorities import Priorities
from treadle.operations.room import QueueRoom
from treadle.operations.rush import Rush
from treadle.operations.wakeups import Wakeups, turns_of
from treadle.service import Given
from treadle.storage import open_storage
from treadle.streaming import EventHub, StreamLimits, connect
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle.webhooks.policy import WebhookPolicy
from treadle.wire.limits import BodyLimits
from treadle_api.a2a.endpoint import A2aEndpoint, Sources
from treadle_api.access.gate import client_of
from treadle_api.access.opening import proving
from treadle_api.access.proof import Proof
from treadle_api.access.rules import Rules
from treadle_api.at_work import AtWork
from treadle_api.bus.acceptance import Acceptance
from treadle_api.bus.answering import Answering
from treadle_api.bus.front import Front
from treadle_api.bus.holding import Holding
from treadle_api.bus.requests import DurableRequests
from treadle_api.bus.runs import DirectRuns
from treadle_api.bus.settling import Settling
from treadle_api.ends import Ends
from treadle_api.mcp.answers import Answers
from treadle_api.mcp.calls import Calls
from treadle_api.mcp.endpoint import McpEndpoint
from treadle_api.mcp.origins import Origins
from treadle_api.mcp.tools import Tools
from treadle_api.open_answers import OpenAnswers
from treadle_api.operations.assistant_edits import AssistantEdits
from treadle_api.operations.crons import CronEdits
from treadle_api.operations.following import Following
from treadle_api.operations.graphs import Graphs
from treadle_api.operations.health import Dependencies, HealthCheck
from treadle_api.operations.memory import Memory
from treadle_api.operations.removal import Removal
from treadle_api.operations.results import Results
from treadle_api.operations.schemas import Schemas
from treadle_api.operations.serving import Serving
from treadle_api.operations.states import States
from treadle_api.operations.streams import Streams
from treadle_api.operations.thread_creation import ThreadCreation
from treadle_api.operations.thread_events import ThreadEvents
from treadle_api.operations.thread_streams import ThreadStreams
from treadle_api.protocol.commands import ProtocolCommands
from treadle_api.protocol.streams import ProtocolStreams
from treadle_api.shell.headers import RequestHeaders
from treadle_api.stirrings import Stirrings


@dataclass(frozen=True)
class Parts:
    """What the routes are given, by the names of their parameters; `proof`: how whoever asks has to say who it is."""

    assistants: Assistants
    assistant_choice: AssistantChoice
    assistant_edits: AssistantEdits
    schemas: Schemas
    threads: Threads
    thread_search: ThreadSearch
    thread_creation: ThreadCreation
    checkpoints: Checkpoints
    runs: Runs
    states: States
    memory: Memory
    creation: Creation
    crons: Crons
    cron_edits: CronEdits
    cancellation: Cancellation
    removal: Removal
    serving: Serving
    thread_streams: ThreadStreams
    protocol_commands: ProtocolCommands
    protocol_streams: ProtocolStreams
    health: HealthCheck
    metrics: Metrics
    tracing: Tracing
    http: Http
    request_headers: RequestHeaders
    mcp: McpEndpoint
    a2a: A2aEndpoint
    front: Front
    at_work: AtWork
    open_answers: OpenAnswers
    limits: BodyLimits
    proof: Proof | None


@dataclass(frozen=True)
class Links:
    """What is there before Postgres is."""

    nats: Nats
    redis: Redis
    dependencies: Dependencies
    metrics: Metrics


@asynccontextmanager
async def link(given: Given) -> AsyncGenerator[Links]:
    """Begin to connect to NATS and Redis; waits for neither."""
    nats, redis = Nats(NatsAccess.of(given.settings), name="api"), connect(given.settings.redis_uri)
    try:
        async with nats.kept_up():
            yield Links(nats, redis, Dependencies(nats, redis), Metrics())
    finally:
        await redis.aclose()


@asynccontextmanager
async def build(given: Given, links: Links) -> AsyncGenerator[Parts]:
    """Build the parts; waits for Postgres."""
    settings, registry, tracing = given.settings, given.registry, given.tracing
    policy = None if given.config.http.disable_webhooks else WebhookPolicy.of(given.config, settings)
    verifier = IdentityVerifier.of(settings)
    nats, redis, dependencies = links.nats, links.redis, links.dependencies
    metrics, limits = links.metrics, BodyLimits.of(settings)
    stream_limits, heartbeat = StreamLimits.of(settings), settings.treadle_sse_heartbeat_secs

    async def register(pool: Pool) -> None:
        """Every graph has its assistant."""
        await Assistants(pool).register(registry.descriptions)

    async with AsyncExitStack() as stack:
        storage = await open_storage(
            stack,
            given,
            "api",
            prepare=register,
            tell=dependencies.waits_for_postgres,
            wait=PoolWait(settings.treadle_db_pool_wait_secs, metrics.refused["connections"].inc),
        )
        pool, savers, store = storage.pool, storage.savers, storage.store
        dependencies.has_postgres(pool)
        proof = await stack.enter_async_context(proving(given.config, settings, pool))
        rules, approvals = None if proof is None else proof.rules, Approvals.of(given.config.approvals, pool)
        turns = turns_of(given.config, settings, pool, nats)
        wakeups = Wakeups(WakeupPublisher(nats, settings.treadle_nats_replicas), turns)
        room = QueueRoom(
            Queue(pool),
            settings.treadle_max_pending_runs,
            metrics,
            turns=None if turns is None else TurnRows(pool),
        )
        runs, threads, assistants = Runs(pool), Threads(pool), Assistants(pool)
        first_wakeups = FirstWakeups(wakeups, metrics, tracing)
        async with (
            Rush(first_wakeups.wake, settings.treadle_rush_secs) as rush,
            EventHub(redis) as hub,
            asyncio.TaskGroup() as tasks,
        ):
            ends, stirrings = Ends(runs, hub), Stirrings(runs, hub)
            background = [
                tasks.create_task(ends.run(), name="ends"),
                tasks.create_task(stirrings.run(), name="stirrings"),
                tasks.create_task(room.run(), name="queue-room"),
                tasks.create_task(wakeups.run(), name="wake-ups"),
            ]
            cancellation = Cancellation(runs, redis, stream_limits)
            request_headers = RequestHeaders(given.config.http)
            choice, ttl = (
                AssistantChoice(registry.ids, assistants),
                given.config.checkpointer.thread_ttl.default,
            )
            creation = Creation(
                choice,
                runs,
                first_wakeups,
                Schedules(
                    nats, settings.treadle_nats_replicas, wanted=settings.treadle_nats_schedules == "auto"
                ),
                cancellation,
                policy,
                metrics,
                tracing,
                ttl,
                request_headers.configurable,
                room,
                rush,
                Priorities.of(given.config, pool),
                approvals,
            )
            crons = Crons(pool)
            results = Results(runs, threads, hub, ends)
            removal = Removal(threads, runs, cancellation, results, Pruning(pool, savers.shared))
            graphs = Graphs(registry, savers.shared, store)
            streams = Streams(hub, runs, ends, metrics, heartbeat)
            following = Following(creation, streams, results, ends)
            schemas = Schemas(registry, graphs)
            sources = Sources(TaskRuns(pool), schemas, following, cancellation)
            tools = Tools(ToolNames(pool), schemas)
            mcp = McpEndpoint(
                Answers(tools, Calls(tools, following)),
                Origins(given.config.http.cors),
                limits,
                heartbeat,
            )
            background.append(tasks.create_task(mcp.run(), name="mcp"))
            holding = Holding(settings.treadle_nats_wait_secs)
            direct = DirectRuns(Acceptance(creation, limits), cancellation, results, runs, holding)
            answering = Answering(
                nats.client,
                metrics,
                tracing,
                request_headers,
                verifier,
                rules,
                settings.treadle_nats_max_requests,
                limits,
            )
            if settings.treadle_nats_api == "on":
                accepting = Acceptance(creation, limits, have_waited=True), verifier, rules, request_headers
                requests = _durable_requests(given, links, runs, room, accepting)
                background.append(tasks.create_task(requests.run(), name="requests"))
            states = States(registry, pool, threads, savers, store, redis, approvals)
            thread_events = ThreadEvents(hub, runs, threads, ends, stirrings, stream_limits)
            yield Parts(
                assistants=assistants,
                assistant_choice=choice,
                assistant_edits=AssistantEdits(
                    registry, graphs, assistants, choice, runs, removal, cancellation
                ),
                schemas=schemas,
                threads=threads,
                thread_search=ThreadSearch(pool),
                thread_creation=ThreadCreation(pool, threads, savers, registry, store, ttl),
                checkpoints=Checkpoints(pool),
                runs=runs,
                states=states,
                memory=Memory(store),
                creation=creation,
                crons=crons,
                cron_edits=CronEdits(pool, crons, threads, creation),
                cancellation=cancellation,
                removal=removal,
                serving=Serving(creation, cancellation, results, streams, runs, heartbeat),
                thread_streams=ThreadStreams(thread_events, threads, metrics, heartbeat),
                protocol_commands=ProtocolCommands(creation, threads, runs, states),
                protocol_streams=ProtocolStreams(thread_events, threads, metrics, heartbeat),
                health=HealthCheck(dependencies, pool, metrics),
                metrics=metrics,
                tracing=tracing,
                http=given.config.http,
                request_headers=request_headers,
                mcp=mcp,
                a2a=A2aEndpoint(choice, sources, _prefix(given), limits, heartbeat),
                front=Front(nats, answering, direct, holding),
                at_work=AtWork(settings.treadle_http_max_requests, metrics),
                open_answers=OpenAnswers(settings.treadle_max_streams_per_client, metrics, client_of),
                limits=limits,
                proof=proof,
            )
            for task in background:
                task.cancel()


def _durable_requests(
    given: Given,
    links: Links,
    runs: Runs,
    room: QueueRoom,
    accepting: tuple[Acceptance, IdentityVerifier, Rules | None, RequestHeaders],
) -> DurableRequests:
    """What turns durable requests into runs."""
    settings, nats = given.settings, links.nats
    settling = Settling(
        DeadLetters(nats.client),
        *accepting,
        links.metrics,
        given.tracing,
        replicas=settings.treadle_nats_replicas,
        keep_secs=settings.treadle_dead_letter_keep_secs,
    )
    return DurableRequests(
        nats,
        runs,
        room,
        settling,
        at_once=max(1, settings.treadle_db_pool_size * 2 // 3),
        replicas=settings.treadle_nats_replicas,
    )


def _prefix(given: Given) -> str:
    """Of all paths; empty for none."""
    return (given.settings.mount_prefix or given.config.http.mount_prefix).rstrip("/")
