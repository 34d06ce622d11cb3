"""What Treadle's spans are called and carry, after the OpenTelemetry semantic conventions.

Each builder returns a `SpanSpec` to be unpacked into `Tracing.span` or `Tracing.start`:

    with tracing.span(*conventions.claim(route, thread_id), parent=sender): ...

The stable names come from `opentelemetry.semconv`. Those still in development (`messaging.*`, `gen_ai.*`) are
spelled out here, since the specification asks libraries not to import its unstable package
(https://opentelemetry.io/docs/specs/semconv/non-normative/code-generation/); a test compares them with it.

- messaging: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
- gen_ai: https://github.com/open-telemetry/semantic-conventions-genai (agents, inference, tools)
- db: https://opentelemetry.io/docs/specs/semconv/db/database-spans/
- http: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from opentelemetry.semconv.attributes import (
    db_attributes,
    error_attributes,
    http_attributes,
    url_attributes,
)
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from uuid import UUID

Value: TypeAlias = str | bool | int | float | list[str]
Attributes: TypeAlias = Mapping[str, Value]

ERROR_TYPE: Final = error_attributes.ERROR_TYPE

MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_DESTINATION_TEMPLATE: Final = "messaging.destination.template"
MESSAGING_CONSUMER_GROUP_NAME: Final = "messaging.consumer.group.name"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_AGENT_ID: Final = "gen_ai.agent.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"

# What no convention has a name for.
RUN_ID: Final = "treadle.run.id"
THREAD_ID: Final = "treadle.thread.id"
ATTEMPT: Final = "treadle.run.attempt"
RUN_STATUS: Final = "treadle.run.status"
ROUTE: Final = "treadle.route"
OUTCOME: Final = "treadle.outcome"
RESPONSE_CODE: Final = "treadle.response.code"
NODE: Final = "treadle.node.name"
STEP: Final = "treadle.node.step"
CHECKPOINT_NS: Final = "treadle.checkpoint.ns"

WAKEUP_TEMPLATE: Final = "treadle.runs.{route}.{thread_id}"

REQUEST_TEMPLATE: Final = "treadle.requests.{source}"

_POSTGRESQL: Final = db_attributes.DbSystemNameValues.POSTGRESQL.value

# RFC 9110 and RFC 5789.
_METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])


class SpanSpec(NamedTuple):
    """The first three arguments of `Tracing.span`."""

    name: str
    kind: SpanKind
    attributes: Attributes


def known_method(method: str) -> str:
    """`method`, or `_OTHER` for what no RFC knows: clients must not be able to make new names and series."""
    return method if method in _METHODS else "_OTHER"


def request(method: str, route: str, path: str) -> SpanSpec:
    """An HTTP request being served; `route` is a template: `/threads/{thread_id}`."""
    known = known_method(method)
    attributes: dict[str, Value] = {
        http_attributes.HTTP_REQUEST_METHOD: known,
        http_attributes.HTTP_ROUTE: route,
        url_attributes.URL_PATH: path,
    }
    return SpanSpec(f"{known if known != '_OTHER' else 'HTTP'} {route}", SpanKind.SERVER, attributes)


def response(status: int) -> Attributes:
    """What is known when the answer begins. A server's span is an error from 500 on, not below."""
    attributes: dict[str, Value] = {http_attributes.HTTP_RESPONSE_STATUS_CODE: status}
    if status >= 500:
        attributes[ERROR_TYPE] = str(status)
    return attributes


def direct(subject: str, group: str) -> SpanSpec:
    """A request over NATS being served, until it is answered."""
    attributes: dict[str, Value] = {
        MESSAGING_SYSTEM: "nats",
        MESSAGING_DESTINATION_NAME: subject,
        MESSAGING_OPERATION_NAME: "process",
        MESSAGING_OPERATION_TYPE: "process",
        MESSAGING_CONSUMER_GROUP_NAME: group,
    }
    return SpanSpec(f"process {subject}", SpanKind.SERVER, attributes)


def answer(code: int) -> Attributes:
    """What is known when a request over NATS is answered; an error from 500 on, as over HTTP."""
    return {RESPONSE_CODE: code, **({ERROR_TYPE: str(code)} if code >= 500 else {})}


def publish(subject: str, route: str, message_id: str) -> SpanSpec:
    """A wake-up being published. Name: `publish {destination template}`."""
    more: Attributes = {MESSAGING_OPERATION_TYPE: "send", MESSAGING_MESSAGE_ID: message_id}
    return SpanSpec(f"publish {WAKEUP_TEMPLATE}", SpanKind.PRODUCER, _wakeup("publish", subject, route, more))


def receive(subject: str, consumer: str) -> SpanSpec:
    """A durable request being made a run. Name: `process {destination template}`."""
    attributes: dict[str, Value] = {
        MESSAGING_SYSTEM: "nats",
        MESSAGING_DESTINATION_NAME: subject,
        MESSAGING_DESTINATION_TEMPLATE: REQUEST_TEMPLATE,
        MESSAGING_OPERATION_NAME: "process",
        MESSAGING_OPERATION_TYPE: "process",
        MESSAGING_CONSUMER_GROUP_NAME: consumer,
    }
    return SpanSpec(f"process {REQUEST_TEMPLATE}", SpanKind.CONSUMER, attributes)


def process(subject: str, route: str, consumer: str) -> SpanSpec:
    """A wake-up being worked on, from its delivery to its ack."""
    more: Attributes = {MESSAGING_OPERATION_TYPE: "process", MESSAGING_CONSUMER_GROUP_NAME: consumer}
    return SpanSpec(f"process {WAKEUP_TEMPLATE}", SpanKind.CONSUMER, _wakeup("process", subject, route, more))


def settle(operation: str, subject: str, route: str) -> SpanSpec:
    """A wake-up being acknowledged (`ack`) or given back (`nak`)."""
    more: Attributes = {MESSAGING_OPERATION_TYPE: "settle"}
    return SpanSpec(
        f"{operation} {WAKEUP_TEMPLATE}", SpanKind.CLIENT, _wakeup(operation, subject, route, more)
    )


def accepted(thread_id: UUID | str, run_id: UUID | str) -> Attributes:
    """What is known of a request when it has become a run, now or before."""
    return {THREAD_ID: str(thread_id), RUN_ID: str(run_id)}


def _wakeup(operation: str, subject: str, route: str, more: Attributes) -> Attributes:
    return {
        MESSAGING_SYSTEM: "nats",
        MESSAGING_DESTINATION_NAME: subject,
        MESSAGING_DESTINATION_TEMPLATE: WAKEUP_TEMPLATE,
        MESSAGING_OPERATION_NAME: operation,
        ROUTE: route,
        **more,
    }


def execute(
    *,
    graph_id: str,
    assistant_id: UUID | str,
    thread_id: UUID | str,
    run_id: UUID | str,
    attempt: int,
    route: str,
) -> SpanSpec:
    """One attempt of a run. Name: `invoke_agent {agent name}`; the agent is named by its graph."""
    attributes: dict[str, Value] = {
        GEN_AI_OPERATION_NAME: "invoke_agent",
        GEN_AI_AGENT_NAME: graph_id,
        GEN_AI_AGENT_ID: str(assistant_id),
        GEN_AI_CONVERSATION_ID: str(thread_id),
        RUN_ID: str(run_id),
        ATTEMPT: attempt,
        ROUTE: route,
    }
    return SpanSpec(f"invoke_agent {graph_id}", SpanKind.INTERNAL, attributes)


def claim(route: str, thread_id: UUID | str) -> SpanSpec:
    """The statement that takes a thread's next run."""
    return sql("claim_run", {ROUTE: route, THREAD_ID: str(thread_id)})


def finish(run_id: UUID | str, attempt: int, status: str, *, left: int = 0) -> SpanSpec:
    """The transaction that writes a run's outcome and claims the thread's next run; `left`: checkpoint writes that go with it."""
    attributes: dict[str, Value] = {RUN_ID: str(run_id), ATTEMPT: attempt, RUN_STATUS: status}
    return sql("finish_run", {**attributes, **_together(1 + left)})


def checkpoint(operation: str, thread_id: UUID | str, *, rows: int = 1) -> SpanSpec:
    """A checkpoint write (`put_checkpoint`, `put_writes`); `rows` > 1 when several were written at once."""
    return sql(operation, {THREAD_ID: str(thread_id), **_together(rows)})


def _together(operations: int) -> dict[str, Value]:
    """How many operations one statement does; one does not say so."""
    return {db_attributes.DB_OPERATION_BATCH_SIZE: operations} if operations > 1 else {}


def sql(statement: str, attributes: Attributes | None = None) -> SpanSpec:
    """One of our SQL statements, by its name (`claim_run`), which is its `db.query.summary`."""
    known: dict[str, Value] = {
        db_attributes.DB_SYSTEM_NAME: _POSTGRESQL,
        db_attributes.DB_QUERY_SUMMARY: statement,
        **(attributes or {}),
    }
    return SpanSpec(statement, SpanKind.CLIENT, known)


def node(name: str, step: int, checkpoint_ns: str) -> SpanSpec:
    """One execution of a graph's node."""
    return SpanSpec(f"node {name}", SpanKind.INTERNAL, {NODE: name, STEP: step, CHECKPOINT_NS: checkpoint_ns})


def inference(
    operation: str,
    model: str | None,
    provider: str | None,
    *,
    temperature: float | None = None,
    max_tokens: float | None = None,
) -> SpanSpec:
    """A model call; `operation` is `chat` or `text_completion`. Name: `{operation} {model}`."""
    known = {
        GEN_AI_OPERATION_NAME: operation,
        GEN_AI_PROVIDER_NAME: provider,
        GEN_AI_REQUEST_MODEL: model,
        GEN_AI_REQUEST_TEMPERATURE: temperature,
        GEN_AI_REQUEST_MAX_TOKENS: max_tokens,
    }
    attributes = {name: value for name, value in known.items() if value is not None}
    return SpanSpec(f"{operation} {model}" if model else operation, SpanKind.CLIENT, attributes)


def tool(name: str) -> SpanSpec:
    """A call of a tool. Name: `execute_tool {tool name}`."""
    attributes: dict[str, Value] = {GEN_AI_OPERATION_NAME: "execute_tool", GEN_AI_TOOL_NAME: name}
    return SpanSpec(f"execute_tool {name}", SpanKind.INTERNAL, attributes)
