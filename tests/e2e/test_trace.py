"""One run is one trace, from the request that created it to its end, across processes."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.bus import LISTENING, bus
from tests.otlp import Received, Receiver, receiving
from tests.stack import Stack, running_stack

REQUEST = "POST /threads/{thread_id}/runs/wait"
PUBLISH = "publish treadle.runs.{route}.{thread_id}"
PROCESS = "process treadle.runs.{route}.{thread_id}"
WAIT = "treadle.api.runs.wait"
ACK = "ack treadle.runs.{route}.{thread_id}"


async def ended(stack: Stack) -> None:
    """Stop the services, so that all their spans have been sent."""
    for name in ("api", "worker"):
        for service in stack.services(name):
            await service.stop()


def of_trace(receiver: Receiver, trace_id: str, name: str) -> Received:
    [span] = [span for span in receiver.named(name) if span.trace_id == trace_id]
    return span


async def test_a_run_is_one_trace_from_the_request_to_its_last_write() -> None:
    with receiving() as receiver:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        async with running_stack("api", "worker", **settings) as stack:
            client = stack.services("api")[0].client
            thread = (await client.threads.create())["thread_id"]
            await client.runs.wait(thread, "parent", input={"text": "x"})
            [run] = await client.runs.list(thread)
            await ended(stack)

    request = receiver.one(REQUEST)
    spans = [span for span in receiver.spans if span.trace_id == request.trace_id]
    chain = [REQUEST, PUBLISH, PROCESS, "invoke_agent parent", "node child", "node inner_a"]
    linked = [receiver.one(name) for name in chain]
    assert [span.parent_id for span in linked] == ["", *(span.span_id for span in linked[:-1])]
    services = [span.resource["service.name"] for span in linked]
    assert services == ["treadle-api"] * 2 + ["treadle-worker"] * 4

    process, execute = linked[2], linked[3]
    for name in ("claim_run", "finish_run", ACK):
        assert receiver.one(name).parent_id == process.span_id
    assert receiver.one("node outer").parent_id == execute.span_id
    writes = [span for span in spans if span.name in ("put_checkpoint", "put_writes")]
    # What comes within a moment goes in one statement, and the last with the outcome; one that does one thing does not say how many.
    statements = [*writes, receiver.one("finish_run")]
    done = sum(int(span.attributes.get("db.operation.batch.size", 1)) for span in statements)
    assert done >= 4 + 1
    assert {span.resource["service.name"] for span in statements} == {"treadle-worker"}
    assert all(span.parent_id in {each.span_id for each in spans} for span in spans if span is not request)

    assert execute.attributes["treadle.run.id"] == run["run_id"]
    assert execute.attributes["gen_ai.conversation.id"] == thread
    assert receiver.one("finish_run").attributes["treadle.run.status"] == "success"
    assert (
        linked[1].attributes["messaging.destination.name"] == process.attributes["messaging.destination.name"]
    )
    assert request.attributes["http.response.status_code"] == 200


async def test_runs_that_follow_on_a_thread_have_their_own_traces() -> None:
    """A worker takes the next run over without another wake-up: it is in the trace of its own request."""
    body: dict[str, Any] = {"input": {"delay": 0.2}, "multitask_strategy": "enqueue"}
    with receiving() as receiver:
        async with running_stack("api", "worker", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as stack:
            client = stack.services("api")[0].client
            thread = (await client.threads.create())["thread_id"]
            runs = [await client.runs.create(thread, "slow", **body) for _ in range(3)]
            await client.runs.join(thread, runs[-1]["run_id"])
            await ended(stack)

    requests = receiver.named("POST /threads/{thread_id}/runs")
    assert len({span.trace_id for span in requests}) == 3
    for request, run in zip(sorted_by_run(receiver, requests), runs, strict=True):
        execute = of_trace(receiver, request.trace_id, "invoke_agent slow")
        assert execute.attributes["treadle.run.id"] == run["run_id"]
        assert (
            of_trace(receiver, request.trace_id, "finish_run").attributes["treadle.run.id"] == run["run_id"]
        )


def sorted_by_run(receiver: Receiver, requests: list[Received]) -> list[Received]:
    """Ids of runs are in the order of their creation."""
    run_of = {
        span.trace_id: span.attributes["treadle.run.id"] for span in receiver.named("invoke_agent slow")
    }
    return sorted(requests, key=lambda span: run_of[span.trace_id])


async def test_a_request_over_nats_is_part_of_its_callers_trace() -> None:
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    with receiving() as receiver:
        async with running_stack("api", "worker", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as stack:
            assert await stack.services("api")[0].logged(LISTENING)
            async with bus(stack) as client:
                headers = {"Traceparent": traceparent}
                await client.request(WAIT, json.dumps(body).encode(), timeout=30, headers=headers)
                await client.request(WAIT, b"{}", timeout=30)
            await ended(stack)

    chain = [f"process {WAIT}", PUBLISH, PROCESS, "invoke_agent steps"]
    linked = [of_trace(receiver, "a" * 32, name) for name in chain]
    assert [span.parent_id for span in linked] == ["b" * 16, *(span.span_id for span in linked[:-1])]
    codes = [span.attributes["treadle.response.code"] for span in receiver.named(chain[0])]
    assert sorted(codes) == [200, 422]
