"""Telemetry without a receiver: what costs nothing when off, what metrics say, what log lines carry."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import logging
import re
import subprocess
import sys
import timeit
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from opentelemetry.trace import INVALID_SPAN
from prometheus_client.parser import text_string_to_metric_families

from treadle.errors import ConfigError
from treadle.readiness import Readiness
from treadle.telemetry import conventions
from treadle.telemetry.logs import bind, bound, setup_logging
from treadle.telemetry.metrics import BUCKETS, CONTENT_TYPE, Backlog, Metrics
from treadle.telemetry.server import MetricsServer, serve_metrics
from treadle.telemetry.tracing import setup_tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN, THREAD = uuid4(), uuid4()


# Tracing, off


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off_unless_the_environment_names_a_receiver(environ: dict[str, str]) -> None:
    tracing = setup_tracing("api", environ=environ)

    assert not tracing.enabled
    with tracing.span("anything") as span:
        assert span is INVALID_SPAN
    headers: dict[str, str] = {}
    tracing.inject(headers)
    assert headers == {}
    assert tracing.extract({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}) is None
    assert tracing.context() is None
    assert tracing.shutdown()


def test_tracing_that_is_off_installs_no_provider_and_imports_no_sdk() -> None:
    script = """
import sys
from opentelemetry import trace
from treadle.telemetry import conventions, logs, metrics, server, tracing
off = tracing.setup_tracing("worker", environ={})
with off.span("x"):
    pass
assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=_python_path())


def test_a_span_that_is_off_costs_next_to_nothing() -> None:
    tracing = setup_tracing("api", environ={})

    def spanned() -> None:
        with tracing.span("run"):
            pass

    # 0.17 us where it was written; the bound leaves room for slow and busy machines.
    assert min(timeit.repeat(spanned, number=10_000, repeat=10)) / 10_000 < 1e-6


def _python_path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}


# Conventions


def test_names_are_those_of_the_installed_semantic_conventions() -> None:
    known: set[str] = set()
    for family in ("messaging", "gen_ai"):
        module = importlib.import_module(f"opentelemetry.semconv._incubating.attributes.{family}_attributes")
        known |= {value for value in vars(module).values() if isinstance(value, str)}

    ours = {
        value
        for name, value in vars(conventions).items()
        if name.startswith(("MESSAGING_", "GEN_AI_")) and isinstance(value, str)
    }

    assert ours
    assert ours <= known


def test_a_request_span_has_a_name_of_few_values() -> None:
    spec = conventions.request("GET", "/threads/{thread_id}", f"/threads/{THREAD}")
    odd = conventions.request("BREW", "/coffee", "/coffee")

    assert spec.name == "GET /threads/{thread_id}"
    assert spec.attributes["http.route"] == "/threads/{thread_id}"
    assert (odd.name, odd.attributes["http.request.method"]) == ("HTTP /coffee", "_OTHER")
    assert "error.type" not in conventions.response(404)
    assert conventions.response(503)["error.type"] == "503"


def test_every_builder_names_its_convention() -> None:
    subject = f"treadle.runs.default.{THREAD}"
    run = conventions.execute(
        graph_id="agent", assistant_id=uuid4(), thread_id=THREAD, run_id=RUN, attempt=2, route="default"
    )

    assert run.name == "invoke_agent agent"
    assert run.attributes["gen_ai.conversation.id"] == str(THREAD)
    for spec in (
        conventions.publish(subject, "default", f"{RUN}:1"),
        conventions.process(subject, "default", "workers"),
        conventions.settle("ack", subject, "default"),
    ):
        assert str(THREAD) not in spec.name
        assert spec.attributes["messaging.system"] == "nats"
        assert spec.attributes["messaging.destination.name"] == subject
    for spec in (
        conventions.claim("default", THREAD),
        conventions.finish(RUN, 2, "success"),
        conventions.checkpoint("put_checkpoint", THREAD, rows=3),
    ):
        assert spec.attributes["db.system.name"] == "postgresql"
        assert spec.attributes["db.query.summary"] == spec.name


# Metrics


def _samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    return _samples(metrics.render())[name, frozenset(labels.items())]


def test_metrics_parse_and_every_known_label_is_there_from_the_start() -> None:
    metrics = Metrics()

    samples = _samples(metrics.render())

    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
    for outcome in ("claimed", "stale", "leased", "ended"):
        assert samples["treadle_claims_total", frozenset({("outcome", outcome)})] == 0
    for status in ("success", "error", "timeout", "interrupted", "rolled_back"):
        assert samples["treadle_runs_ended_total", frozenset({("status", status)})] == 0
    assert not [name for name, _ in samples if name.endswith("_created")]


def test_metric_names_carry_the_prefix_a_unit_and_help() -> None:
    metrics = Metrics()
    names = re.findall(r"^# HELP (\S+) (\S.*)$", metrics.render().decode(), re.MULTILINE)

    ours = [name for name, _ in names if not name.startswith("process_")]

    assert all(name.startswith("treadle_") for name in ours)
    assert {name for name in ours if "duration" in name or "age" in name} <= {
        name for name in ours if name.endswith("_seconds")
    }
    assert BUCKETS[0] == 0.001
    assert BUCKETS[-1] == 300


def test_what_is_counted_is_what_is_shown() -> None:
    metrics = Metrics()

    metrics.claims["claimed"].inc()
    metrics.wakeups["sweeper"].inc(3)
    metrics.leases_lost["taken_over"].inc()
    metrics.stream_clients.inc()
    metrics.execution.observe(0.03)
    metrics.observe_request("/threads/{thread_id}", "GET", 200, 0.02)
    metrics.observe_request("/threads/{thread_id}", "GET", 200, 0.02)
    metrics.observe_request("/threads/{thread_id}", "SURPRISE", 405, 0.02)

    assert _value(metrics, "treadle_claims_total", outcome="claimed") == 1
    assert _value(metrics, "treadle_wakeups_published_total", source="sweeper") == 3
    assert _value(metrics, "treadle_leases_lost_total", reason="taken_over") == 1
    assert _value(metrics, "treadle_stream_clients") == 1
    assert _value(metrics, "treadle_run_execution_seconds_bucket", le="0.025") == 0
    assert _value(metrics, "treadle_run_execution_seconds_bucket", le="0.05") == 1
    request = {"route": "/threads/{thread_id}", "method": "GET", "status": "200"}
    assert _value(metrics, "treadle_http_request_duration_seconds_count", **request) == 2
    request |= {"method": "_OTHER", "status": "405"}
    assert _value(metrics, "treadle_http_request_duration_seconds_count", **request) == 1


def test_a_route_with_nothing_left_shows_zero_and_not_its_last_depth() -> None:
    metrics = Metrics()

    metrics.set_backlog({"default": Backlog(4, 1.5), "gpu": Backlog(1, 9)})
    metrics.set_backlog({"default": Backlog(2, 0.5)})

    assert _value(metrics, "treadle_queue_depth", route="default") == 2
    assert _value(metrics, "treadle_queue_depth", route="gpu") == 0
    assert _value(metrics, "treadle_oldest_pending_age_seconds", route="gpu") == 0


def test_two_metrics_in_one_process_are_apart() -> None:
    one, other = Metrics(), Metrics()

    one.runs_created.inc()

    assert _value(one, "treadle_runs_created_total") == 1
    assert _value(other, "treadle_runs_created_total") == 0


def test_the_dashboard_asks_only_for_metrics_that_exist() -> None:
    dashboard = Path(__file__, "../../../infra/grafana/treadle.json").resolve().read_text()
    metrics = Metrics()
    metrics.set_backlog({"default": Backlog(0, 0)})
    metrics.observe_request("/ok", "GET", 200, 0.001)

    asked = set(re.findall(r"treadle_\w+", " ".join(_expressions(json.loads(dashboard)))))

    assert asked
    assert asked <= {name for name, _ in _samples(metrics.render())}


def _expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield str(variable.get("query", ""))


@pytest.fixture
def metrics_server(unused_tcp_port: int) -> Iterator[tuple[Metrics, MetricsServer]]:
    metrics = Metrics()
    server = serve_metrics(metrics, Readiness(()), unused_tcp_port, "127.0.0.1")
    assert server is not None
    yield metrics, server
    server.close()


def test_metrics_are_served_on_their_port(metrics_server: tuple[Metrics, MetricsServer]) -> None:
    metrics, server = metrics_server
    metrics.runs_created.inc(5)

    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        samples = _samples(answer.read())

    assert samples["treadle_runs_created_total", frozenset()] == 5


def test_a_taken_metrics_port_is_named(metrics_server: tuple[Metrics, MetricsServer]) -> None:
    metrics, server = metrics_server

    with pytest.raises(ConfigError, match=f"METRICS_PORT={server.port}"):
        serve_metrics(metrics, Readiness(()), server.port, "127.0.0.1")


def test_no_port_is_served_by_default() -> None:
    assert serve_metrics(Metrics(), Readiness(()), 0) is None
    assert serve_metrics(Metrics(), Readiness(()), None) is None


# Logs


class Log:
    """What was logged since the test began."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    log, root = Log(), logging.getLogger()
    level = root.level
    handler = setup_logging("worker", "INFO", "json", log.stream)
    yield log
    root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_record_carries_the_ids_of_its_run(log: Log) -> None:
    with bind(run_id=RUN, thread_id=THREAD), bind(attempt=2):
        logging.getLogger("users.graph").info("found %d rows", 3, extra={"table": "orders"})
    logging.getLogger("treadle").info("idle")

    inside, outside = log.lines()
    assert inside["message"] == "found 3 rows"
    assert inside["level"] == "info"
    assert inside["service"] == "worker"
    assert inside["logger"] == "users.graph"
    assert (inside["run_id"], inside["thread_id"], inside["attempt"]) == (str(RUN), str(THREAD), 2)
    assert inside["table"] == "orders"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", inside["time"])
    assert "run_id" not in outside
    assert "trace_id" not in outside


async def test_runs_at_the_same_time_do_not_mix_their_ids_in_tasks_or_threads(log: Log) -> None:
    async def run(number: int) -> None:
        with bind(run_id=f"run-{number}"):
            await asyncio.sleep(0)
            await asyncio.to_thread(logging.getLogger("sync.node").info, "%d", number)
            logging.getLogger("async.node").info("%d", number)

    await asyncio.gather(*(run(number) for number in range(20)))

    assert len(log.lines()) == 40
    assert all(line["run_id"] == f"run-{line['message']}" for line in log.lines())


def test_a_field_can_be_taken_away_again() -> None:
    with bind(run_id="r", attempt=1), bind(attempt=None):
        assert bound() == {"run_id": "r"}
    assert bound() == {}


def test_an_exception_stays_on_its_line(log: Log) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("node").exception("failed")

    (line,) = log.lines()
    assert line["error"] == "ValueError"
    assert line["exception"].startswith("Traceback")
    assert "two\nlines" in line["exception"]


def test_what_json_cannot_hold_is_logged_all_the_same(log: Log) -> None:
    logging.getLogger("node").info("odd", extra={"value": object(), "half": "\ud800"})

    (line,) = log.lines()
    assert "object" in line["value"]


def test_credentials_in_urls_never_reach_the_log(log: Log) -> None:
    logging.getLogger("db").info("cannot reach postgresql://treadle:s3cr@t@db:5432/treadle")
    logging.getLogger("nats").info("servers: nats://s3cret@a:4222,nats://user:s3cret@b:4222")

    database, nats = log.lines()
    assert database["message"] == "cannot reach postgresql://***@db:5432/treadle"
    assert nats["message"] == "servers: nats://***@a:4222,nats://***@b:4222"


def test_a_url_without_credentials_is_left_alone(log: Log) -> None:
    logging.getLogger("http").info("http://host:8080", extra={"mail": "a@b"})

    (line,) = log.lines()
    assert (line["message"], line["mail"]) == ("http://host:8080", "a@b")


@pytest.mark.parametrize("name", ["uvicorn.error", "uvicorn.access", "litestar", "nats.aio.client"])
def test_the_servers_own_loggers_come_in(log: Log, name: str) -> None:
    logging.getLogger(name).addHandler(logging.StreamHandler(io.StringIO()))
    setup_logging("api", "INFO", "json", log.stream)

    logging.getLogger(name).warning("hello")

    (line,) = log.lines()
    assert line["logger"] == name
    assert logging.getLogger(name).handlers == []


def test_setting_up_twice_writes_each_record_once(log: Log) -> None:
    setup_logging("worker", "INFO", "json", log.stream)

    logging.getLogger("x").info("once")

    assert len(log.lines()) == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "text"), [(Terminal(), True), (io.StringIO(), False)])
def test_auto_is_coloured_text_on_a_terminal_and_json_elsewhere(
    log: Log, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, text: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    handler = setup_logging("worker", "INFO", "auto", stream)
    try:
        with bind(run_id="r1"):
            logging.getLogger("x").warning("careful")
    finally:
        logging.getLogger().removeHandler(handler)

    line = stream.getvalue()
    assert ("\x1b[33mWARNING" in line) is text
    assert ("run_id=r1" in line) is text
    assert line.startswith("{") is not text


def test_no_color_is_respected(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    handler = setup_logging("worker", "INFO", "text", stream)
    try:
        logging.getLogger("x").warning("careful")
    finally:
        logging.getLogger().removeHandler(handler)

    assert "\x1b[" not in stream.getvalue()
