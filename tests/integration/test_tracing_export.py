"""Traces as they leave: OTLP decoded from the wire, processes that share one trace, real graphs."""

from __future__ import annotations

import asyncio
import json
import logging
import operator
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.otlp import Receiver, receiving
from treadle.telemetry import conventions
from treadle.telemetry.logs import setup_logging
from treadle.telemetry.nodes import NodeSpans
from treadle.telemetry.tracing import Tracing, setup_tracing

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


Setup = Callable[..., Tracing]


@pytest.fixture
def setup(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """Sets up tracing to the receiver, and ends it with the test if the test did not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    made: list[Tracing] = []

    def setup(service: str = "worker") -> Tracing:
        tracing = setup_tracing(service, worker_id="w1", install=False)
        made.append(tracing)
        return tracing

    yield setup
    for tracing in made:
        tracing.shutdown()


# What is exported, and when


def test_spans_arrive_as_protobuf_with_our_names_and_the_users(
    receiver: Receiver, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=lab,service.namespace=shop")
    tracing = setup()

    with tracing.span(*conventions.claim("default", "t1")):
        pass
    assert tracing.shutdown()

    span = receiver.one("claim_run")
    assert receiver.content_types == {"/v1/traces application/x-protobuf"}
    assert span.kind == WireSpan.SPAN_KIND_CLIENT
    assert span.attributes["db.system.name"] == "postgresql"
    assert span.resource["service.name"] == "treadle-worker"
    assert span.resource["service.instance.id"] == "w1"
    assert span.resource["service.namespace"] == "shop"
    assert span.resource["deployment.environment.name"] == "lab"


def test_the_service_name_and_the_sampler_are_the_users_to_choose(
    receiver: Receiver, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "looms")
    named = setup()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    silent = setup()

    with silent.span("unheard"), named.span("heard"):
        pass
    with named.span("heard too"):
        pass
    named.shutdown()
    silent.shutdown()

    # What was not sampled decides for its children: the default sampler is parentbased_always_on.
    assert [span.name for span in receiver.spans] == ["heard too"]
    assert receiver.spans[0].resource["service.name"] == "looms"


def test_an_error_marks_its_span_and_a_cancellation_does_not(receiver: Receiver, setup: Setup) -> None:
    tracing = setup()

    with pytest.raises(ValueError, match="broken"), tracing.span("fails"):
        raise ValueError("broken")
    with pytest.raises(asyncio.CancelledError), tracing.span("cancelled"):
        raise asyncio.CancelledError
    tracing.shutdown()

    assert receiver.one("fails").status == Status.STATUS_CODE_ERROR
    assert receiver.one("fails").events == ["exception"]
    assert receiver.one("cancelled").status == Status.STATUS_CODE_UNSET


def test_a_receiver_that_hangs_holds_a_shutdown_no_longer_than_promised(
    receiver: Receiver, setup: Setup
) -> None:
    tracing = setup()
    receiver.paused.set()
    with tracing.span("stuck"):
        pass

    began = time.monotonic()
    flushed = tracing.shutdown(timeout=0.3)

    assert not flushed
    assert time.monotonic() - began < 1.5


def test_a_context_that_is_no_context_is_none(setup: Setup) -> None:
    tracing = setup()

    assert tracing.extract(None) is None
    assert tracing.extract({}) is None
    assert tracing.extract({"traceparent": "garbage"}) is None


def test_log_lines_carry_the_ids_of_the_current_span(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    tracing = setup()
    handler = setup_logging("worker", "INFO", "json")
    try:
        with tracing.span("run") as span:
            logging.getLogger("node").info("inside")
    finally:
        logging.getLogger().removeHandler(handler)

    line = json.loads(capsys.readouterr().err.splitlines()[0])
    assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert line["span_id"] == f"{span.get_span_context().span_id:016x}"


# Across processes

WORKER = """
import asyncio, json, logging, sys
from langgraph.graph import START, StateGraph
from opentelemetry import trace
from treadle.telemetry import conventions
from treadle.telemetry.logs import bind, setup_logging
from treadle.telemetry.nodes import NodeSpans
from treadle.telemetry.tracing import setup_tracing

def weave(state: dict) -> dict:
    logging.getLogger("user.graph").info("weaving")
    with trace.get_tracer("user").start_as_current_span("user's own span"):
        return {"done": True}

async def main() -> None:
    graph = StateGraph(dict).add_node("weave", weave).add_edge(START, "weave").compile()
    sender = tracing.extract(json.loads(sys.stdin.read()))
    names = dict(graph_id="agent", assistant_id="a", thread_id="t1", run_id="r1", attempt=1, route="default")
    with tracing.span(*conventions.process("treadle.runs.default.t1", "default", "workers"), parent=sender):
        with tracing.span(*conventions.claim("default", "t1")):
            pass
        with tracing.span(*conventions.execute(**names)) as span, bind(run_id="r1"):
            handler = NodeSpans(tracing, tracing.context(span))
            await graph.ainvoke({}, {"callbacks": [handler]})
        with tracing.span(*conventions.finish("r1", 1, "success")):
            pass

setup_logging("worker", "INFO", "json")
tracing = setup_tracing("worker", worker_id="w7")
asyncio.run(main())
assert tracing.shutdown()
"""


def test_a_run_is_one_trace_from_the_request_to_the_worker_in_another_process(
    receiver: Receiver, setup: Setup
) -> None:
    api = setup("api")
    headers: dict[str, str] = {}
    with api.span(*conventions.request("POST", "/threads/{thread_id}/runs", "/threads/t1/runs")) as request:
        request.set_attributes(conventions.response(200))
        with api.span(*conventions.publish("treadle.runs.default.t1", "default", "r1:0")):
            api.inject(headers)

    worker = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=json.dumps(headers),
        env={
            "PYTHONPATH": ":".join(entry for entry in sys.path if entry),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.url}/v1/traces",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert worker.returncode == 0, worker.stderr
    api.shutdown()

    chain = [
        "POST /threads/{thread_id}/runs",
        "publish treadle.runs.{route}.{thread_id}",
        "process treadle.runs.{route}.{thread_id}",
        "invoke_agent agent",
        "node weave",
        "user's own span",
    ]
    spans = [receiver.one(name) for name in chain]
    assert {span.trace_id for span in receiver.spans} == {spans[0].trace_id}
    assert [span.parent_id for span in spans] == ["", *(span.span_id for span in spans[:-1])]
    assert [span.resource["service.name"] for span in spans] == ["treadle-api"] * 2 + ["treadle-worker"] * 4
    assert spans[2].resource["service.instance.id"] == "w7"
    for statement in ("claim_run", "finish_run"):
        assert receiver.one(statement).parent_id == spans[2].span_id
    (line,) = [json.loads(text) for text in worker.stderr.splitlines()]
    assert (line["message"], line["run_id"]) == ("weaving", "r1")
    assert (line["trace_id"], line["span_id"]) == (spans[4].trace_id, spans[4].span_id)


# Nodes of real graphs


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def _say(word: str) -> Callable[[State], State]:
    return lambda _: {"log": [word]}


def _graph(
    nodes: dict[str, Any], *edges: tuple[str | list[str], str], saver: InMemorySaver | None = None
) -> Any:
    """A compiled graph. Untyped, as langgraph's builder is too generic for a strict checker."""
    builder = cast("Any", StateGraph(State))
    for name, action in nodes.items():
        builder.add_node(name, action)
    for source, target in edges:
        builder.add_edge(source, target)
    return builder.compile(checkpointer=saver)


async def _run(tracing: Tracing, graph: Any, value: Any, thread: str = "t") -> Any:
    """One attempt of a run, as a worker does it."""
    with tracing.span(f"run {thread}") as span:
        handler = NodeSpans(tracing, tracing.context(span))
        config: RunnableConfig = {"callbacks": [handler], "configurable": {"thread_id": thread}}
        try:
            return await graph.ainvoke(value, config)
        finally:
            handler.close()


async def test_each_node_is_a_span_also_parallel_ones_and_those_of_subgraphs(
    receiver: Receiver, setup: Setup
) -> None:
    tracing = setup()
    meeting = threading.Barrier(2, timeout=10)

    def meet(_: State) -> State:
        meeting.wait()
        return {"log": ["met"]}

    inner = _graph({"inner": _say("inner")}, (START, "inner"))
    graph = _graph(
        {"left": meet, "right": meet, "sub": inner},
        (START, "left"),
        (START, "right"),
        (["left", "right"], "sub"),
    )

    await _run(tracing, graph, {"log": []})
    tracing.shutdown()

    run, left, right, sub = (receiver.one(name) for name in ("run t", "node left", "node right", "node sub"))
    assert [span.parent_id for span in (left, right, sub)] == [run.span_id] * 3
    assert receiver.one("node inner").parent_id == sub.span_id
    assert (left.attributes["treadle.node.name"], left.attributes["treadle.node.step"]) == ("left", 1)
    assert sub.attributes["treadle.node.step"] == 2
    assert sub.attributes["treadle.checkpoint.ns"].startswith("sub:")
    assert {span.attributes["treadle.outcome"] for span in (left, right, sub)} == {"success"}
    assert len(receiver.spans) == 5


async def test_a_node_that_raises_is_an_error_and_an_interrupt_is_not(
    receiver: Receiver, setup: Setup
) -> None:
    tracing = setup()

    def ask(_: State) -> State:
        return {"log": [interrupt("go on?")]}

    def fail(_: State) -> State:
        raise RuntimeError("thread broke")

    graph = _graph({"ask": ask, "fail": fail}, (START, "ask"), ("ask", "fail"), saver=InMemorySaver())

    await _run(tracing, graph, {"log": []})
    with pytest.raises(RuntimeError):
        await _run(tracing, graph, Command(resume="yes"))
    tracing.shutdown()

    asked, resumed = receiver.named("node ask")
    failed = receiver.one("node fail")
    assert (asked.status, asked.attributes["treadle.outcome"]) == (Status.STATUS_CODE_UNSET, "interrupted")
    assert asked.events == []
    assert resumed.attributes["treadle.outcome"] == "success"
    assert (failed.status, failed.attributes["treadle.outcome"]) == (Status.STATUS_CODE_ERROR, "error")
    assert failed.attributes["error.type"] == "RuntimeError"
    assert failed.events == ["exception"]


async def test_a_cancelled_node_ends_its_span(receiver: Receiver, setup: Setup) -> None:
    tracing = setup()
    entered = asyncio.Event()

    async def wait(_: State) -> State:
        entered.set()
        await asyncio.Event().wait()
        return {}

    graph = _graph({"wait": wait}, (START, "wait"))

    run = asyncio.create_task(_run(tracing, graph, {"log": []}))
    await asyncio.wait_for(entered.wait(), 10)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    tracing.shutdown()

    span = receiver.one("node wait")
    assert (span.status, span.attributes["treadle.outcome"]) == (Status.STATUS_CODE_UNSET, "cancelled")


async def test_runs_at_the_same_time_in_one_process_keep_their_nodes_apart(
    receiver: Receiver, setup: Setup
) -> None:
    tracing = setup()

    async def step(_: State) -> State:
        await asyncio.sleep(0)
        return {"log": ["x"]}

    graph = _graph({"one": step, "two": _say("y")}, (START, "one"), ("one", "two"))

    await asyncio.gather(*(_run(tracing, graph, {"log": []}, f"t{number}") for number in range(20)))
    tracing.shutdown()

    runs = {span.span_id: span.trace_id for span in receiver.spans if span.name.startswith("run ")}
    assert len(runs) == len(set(runs.values())) == 20
    for name in ("node one", "node two"):
        assert sorted(span.parent_id for span in receiver.named(name)) == sorted(runs)
        assert all(runs[span.parent_id] == span.trace_id for span in receiver.named(name))


async def test_models_and_tools_in_a_node_are_spans_without_what_was_said(
    receiver: Receiver, setup: Setup
) -> None:
    tracing = setup()

    @tool
    def weigh(yarn: str) -> str:
        """Weigh yarn."""
        return f"secret weight of {yarn}"

    async def think(_: State) -> State:
        answer = AIMessage(
            "secret answer",
            usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
            response_metadata={"model_name": "fake-1", "finish_reason": "stop"},
        )
        model = GenericFakeChatModel(messages=iter([answer]), metadata={"ls_model_name": "fake"})
        await model.ainvoke("secret question")
        await weigh.ainvoke({"yarn": "secret wool"})
        return {"log": ["thought"]}

    graph = _graph({"think": think}, (START, "think"))

    await _run(tracing, graph, {"log": []})
    tracing.shutdown()

    node, chat, called = (receiver.one(name) for name in ("node think", "chat fake", "execute_tool weigh"))
    assert chat.parent_id == called.parent_id == node.span_id
    assert chat.kind == WireSpan.SPAN_KIND_CLIENT
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "genericfakechatmodel",
        "gen_ai.request.model": "fake",
        "gen_ai.response.model": "fake-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "treadle.outcome": "success",
    }
    assert "secret" not in repr(receiver.spans)


def test_a_graph_run_synchronously_is_traced_as_well(receiver: Receiver, setup: Setup) -> None:
    tracing = setup()
    graph = _graph({"only": _say("x")}, (START, "only"))

    with tracing.span("run") as span:
        graph.invoke({"log": []}, {"callbacks": [NodeSpans(tracing, tracing.context(span))]})
    tracing.shutdown()

    assert receiver.one("node only").parent_id == receiver.one("run").span_id
