"""docs/asyncapi.json: what goes over NATS, as an AsyncAPI 3.0 document, made of the types that are read and written.

python -m treadle_api.bus.asyncapi > docs/asyncapi.json
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, get_args

import msgspec

from treadle.messaging.subjects import DEAD_LETTERS_STREAM, EVENTS_STREAM, REQUESTS_STREAM, service_subject
from treadle.wire.direct import Problem
from treadle.wire.run_event import RunEvent, RunEventStatus
from treadle.wire.runs import BatchRun
from treadle_api.bus.endpoints import RUNS, Direct

Json = dict[str, Any]

TEXT = {"type": "string"}

# The headers that a client may send, and those that a dead letter has.
MESSAGE_ID = {
    **TEXT,
    "description": "The request's name: under one name there is one run, however often it comes.",
}
TRACE = {**TEXT, "description": "W3C Trace Context: the run's trace goes on from the caller's."}
IDENTITY = {**TEXT, "description": "A signed JSON Web Token that says who asks; see nats.md."}
SENT = {"Nats-Msg-Id": MESSAGE_ID, "traceparent": TRACE, "Treadle-Identity": IDENTITY}
REFUSED = {
    "Nats-Service-Error": {**TEXT, "description": "The detail of the problem."},
    "Nats-Service-Error-Code": {**TEXT, "description": "An HTTP status."},
}
DEAD = {
    "Treadle-Reason": {
        **TEXT,
        "description": "Why it is no run; all but printable ASCII is percent-encoded.",
    },
    "Treadle-Code": {**TEXT, "description": "The HTTP status that goes with the reason."},
    "Treadle-Error": {**TEXT, "description": "The error's name."},
    "Treadle-Subject": {**TEXT, "description": "Where the request was published."},
    "Treadle-Source": {**TEXT, "description": "By whom."},
    "Treadle-Message-Id": {**TEXT, "description": "The request's name."},
    "Treadle-Published-At": {**TEXT, "format": "date-time", "description": "When NATS stored the request."},
}
TOLD = {
    "Nats-Msg-Id": {**TEXT, "description": "The event's id: whoever has seen it need not look at it again."}
}


def document() -> Json:
    """The document. Operations are Treadle's: it receives requests, and sends events and dead letters."""
    schemas = _Schemas()
    channels: Json = {}
    operations: Json = {}
    for name, direct in RUNS.items():
        _ask(name, direct, schemas, channels, operations)
    _tell(schemas, channels, operations)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Treadle over NATS",
            "version": version("treadle"),
            "description": "Runs of LangGraph graphs for services inside the house: see docs/nats.md.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas.components},
    }


class _Schemas:
    """JSON Schemas of types, each in `components` once."""

    def __init__(self) -> None:
        kinds = [BatchRun, Problem, RunEvent]
        kinds += [kind for direct in RUNS.values() for kind in (direct.request, direct.response)]
        made, self.components = msgspec.json.schema_components(
            kinds, ref_template="#/components/schemas/{name}"
        )
        self._made = list(zip(kinds, made, strict=True))

    def of(self, wanted: Any) -> Json:
        return next(made for kind, made in self._made if kind == wanted)


def _ask(name: str, direct: Direct, schemas: _Schemas, channels: Json, operations: Json) -> None:
    """A request, and the channel of its answers, whose address is in the request."""
    channels[name] = {
        "address": service_subject(name),
        "description": direct.description,
        "messages": {"request": _message(schemas.of(direct.request), SENT)},
    }
    channels[f"{name}Reply"] = {
        "address": None,
        "messages": {
            "answer": _message(schemas.of(direct.response)),
            "problem": _message(schemas.of(Problem), REFUSED),
        },
    }
    operations[name] = {
        "action": "receive",
        "channel": _ref("channels", name),
        "messages": [_ref("channels", name, "messages", "request")],
        "reply": {
            "channel": _ref("channels", f"{name}Reply"),
            "messages": [
                _ref("channels", f"{name}Reply", "messages", each) for each in ("answer", "problem")
            ],
        },
    }


def _tell(schemas: _Schemas, channels: Json, operations: Json) -> None:
    """What lies in streams."""
    source = {"source": {"description": "Who asks: 1 to 64 letters, digits, `_` and `-`."}}
    which = {
        "thread_id": {"description": "The run's thread, a UUID."},
        "status": {"description": "What the run has come to.", "enum": list(get_args(RunEventStatus))},
    }
    of_tenant = {
        "tenant": {
            "description": "The tenant's name, with `%` and two hexadecimal digits for each byte that is no letter, digit, `_` or `-`."
        },
        **which,
    }
    for name, action, address, parameters, text, message in (
        (
            "requests",
            "receive",
            "treadle.requests.{source}",
            source,
            f"Requests for runs, kept in {REQUESTS_STREAM} until they are runs or dead letters.",
            _message(schemas.of(BatchRun), SENT),
        ),
        (
            "deadLetters",
            "send",
            "treadle.deadletters.{source}",
            source,
            f"Requests that could not be runs, in {DEAD_LETTERS_STREAM}, with their bodies as they came.",
            _message({}, DEAD),
        ),
        (
            "runEvents",
            "send",
            "treadle.events.runs.{thread_id}.{status}",
            which,
            f"What happens to runs, in {EVENTS_STREAM}: at least once, in the order of each thread.",
            _message(schemas.of(RunEvent), TOLD),
        ),
        (
            "tenantRunEvents",
            "send",
            "treadle.events.tenants.{tenant}.runs.{thread_id}.{status}",
            of_tenant,
            "The same of tenants other than `default`.",
            _message(schemas.of(RunEvent), TOLD),
        ),
    ):
        channels[name] = {
            "address": address,
            "description": text,
            "parameters": parameters,
            "messages": {"message": message},
        }
        operations[name] = {"action": action, "channel": _ref("channels", name)}


def _message(payload: Json, headers: Mapping[str, Json] | None = None) -> Json:
    message: Json = {"payload": payload}
    if headers:
        message["headers"] = {"type": "object", "properties": dict(headers)}
    return message


def _ref(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}


if __name__ == "__main__":
    import sys

    text = msgspec.json.format(msgspec.json.encode(document()), indent=2)
    sys.stdout.write(text.decode() + "\n")
