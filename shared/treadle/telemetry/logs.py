"""Structured logs on the standard library: JSON lines or readable text, each record with its ids.

The ids travel in a context variable, so that records of a user's node carry them too, on whatever task or
executor thread it runs. Who serves a request or a run binds them:

    with bind(run_id=run.run_id, thread_id=run.thread_id, attempt=run.attempt):
        ...
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, TypeAlias

from opentelemetry import trace

from treadle import json

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

LogFormat: TypeAlias = Literal["json", "text", "auto"]

# Servers that bring handlers of their own: theirs are removed, so that their records come to ours.
ROUTED: Final = (
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "uvicorn.asgi",
    "litestar",
    "nats",
    "nats.aio.client",
)
# Quiet unless asked: one line for every request of the exporter and of users' HTTP clients.
QUIET: Final = ("httpx", "httpcore", "urllib3", "asyncio", "mcp", "sse_starlette")
# It shows clients' mistakes with tracebacks. What is ours to mend is logged where it is answered.
SILENT: Final = ("a2a",)
# Asyncio's, at each end of a connection that began without TLS and went on with it, as those of NATS do. It means nothing.
MEANINGLESS: Final = "returning true from eof_received() has no effect when using ssl"

_EMPTY: Final[Mapping[str, str | int]] = {}
_bound: ContextVar[Mapping[str, str | int]] = ContextVar("treadle_log_fields", default=_EMPTY)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
# The user part of a URL; never across a quote, where one JSON string ends and another begins.
_USERINFO: Final = re.compile(r"""://[^\s/"'\\]+@""")


@contextmanager
def bind(**fields: object) -> Generator[None]:
    """Every record of this block, and of the tasks that it starts, carries `fields`; None removes one."""
    merged = {**_bound.get(), **{name: _scalar(value) for name, value in fields.items()}}
    token = _bound.set({name: value for name, value in merged.items() if value is not None})
    try:
        yield
    finally:
        _bound.reset(token)


def bound() -> Mapping[str, str | int]:
    """The fields that records carry here."""
    return _bound.get()


def _scalar(value: object) -> Any:
    return value if value is None or isinstance(value, str | int) else str(value)


def setup_logging(
    service: str,
    level: str | int = "INFO",
    format: LogFormat = "auto",  # noqa: A002 - what the field calls it
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send all records of this process to `stream` (stderr); `auto`: text on a terminal, else JSON lines.

    Calling it again replaces what it set up before; handlers that others put on the root logger stay.
    Start uvicorn with `log_config=None` and Litestar with `logging_config=None`, or they put theirs back.
    """
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    handler = _Handler(out)
    handler.addFilter(lambda record: record.msg != MEANINGLESS)
    handler.setFormatter(
        JsonFormatter(service)
        if format == "json" or (format == "auto" and not terminal)
        else TextFormatter(service, color=terminal and not os.environ.get("NO_COLOR"))
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    _route_in(root.level)
    return handler


def _route_in(level: int) -> None:
    logging.captureWarnings(True)
    for name in ROUTED:
        routed = logging.getLogger(name)
        routed.handlers.clear()
        routed.propagate = True
        routed.setLevel(logging.NOTSET)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _Handler(logging.StreamHandler[TextIO]):
    """Marks the handler that is ours."""


def _context() -> dict[str, str | int]:
    """The ids of the run, and of the span that is current, if any."""
    fields = dict(_bound.get())
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        fields["trace_id"] = f"{span.trace_id:032x}"
        fields["span_id"] = f"{span.span_id:016x}"
    return fields


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _without_credentials(text: str) -> str:
    """Driver errors and users' records may quote a URL; its password or token never reaches the log."""
    return _USERINFO.sub("://***@", text) if "://" in text else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, service, logger, message, ids, extra, exception."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            **_extra(record),
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **_context(),
        }
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return _without_credentials(json.text(fields))


class TextFormatter(logging.Formatter):
    """A line for people: time, level, service, message, then the fields; exceptions below it."""

    _COLORS: Final = {"DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

    def __init__(self, service: str, *, color: bool) -> None:
        super().__init__()
        self._service = service
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = self._paint(f"{record.levelname:<7}", self._COLORS.get(record.levelname, "0"))
        fields = {**_context(), **_extra(record)}
        tail = " ".join(f"{name}={value}" for name, value in fields.items())
        line = f"{time} {level} {self._service:<9} {record.getMessage()}"
        if tail:
            line += "  " + self._paint(tail, "2")
        if record.exc_info and record.exc_info[0]:
            line += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            line += "\n" + record.stack_info
        return _without_credentials(line)

    def _paint(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color else text
