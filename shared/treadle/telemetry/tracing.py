"""Traces: one per run, across processes, exported by OTLP where the environment names a receiver.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set: then no provider is
installed, no SDK is imported, and every helper returns at once. When on, the SDK's own variables hold:
OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_EXPORTER_OTLP_HEADERS ...
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace import TracerProvider

    from treadle.telemetry.conventions import Attributes

logger = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SHUTDOWN_SECS: Final = 3.0

_W3C: Final = TraceContextTextMapPropagator()


class _NoSpan:
    """The context manager of a span that is not recorded; one object serves all, so that it costs nothing."""

    def __enter__(self) -> Span:
        return INVALID_SPAN

    def __exit__(self, *_: object) -> None:
        return None


_NO_SPAN: Final = _NoSpan()


class Tracing:
    """Makes spans and carries their context between processes. Build it with `setup_tracing`."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.enabled: Final = provider is not None
        self._provider = provider
        self._tracer: Tracer | None = provider.get_tracer("treadle") if provider else None

    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Context | None = None,
    ) -> AbstractContextManager[Span]:
        """A span around a block; it is the current one inside. A child of `parent`, else of the current span.

        An exception that leaves the block is recorded and makes the span an error (a cancellation does not).
        """
        if self._tracer is None:
            return _NO_SPAN
        return self._tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes)

    def start(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Context | None = None,
    ) -> Span:
        """A span that the caller ends, for what begins and ends in different places; never current."""
        if self._tracer is None:
            return INVALID_SPAN
        return self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes)

    def context(self, span: Span | None = None) -> Context | None:
        """What to pass as `parent`, on any thread or loop: the context of `span`, else the current one."""
        if self._tracer is None:
            return None
        return contexts.get_current() if span is None else trace.set_span_in_context(span)

    def inject(self, headers: dict[str, str], context: Context | None = None) -> None:
        """Write `traceparent` and `tracestate` (W3C Trace Context) of `context`, else of the current span."""
        if self._tracer is not None:
            _W3C.inject(headers, context)

    def extract(self, headers: Mapping[str, str] | None) -> Context | None:
        """The sender's context from headers with lower-case names, or None when there is none."""
        if self._tracer is None or not headers or "traceparent" not in headers:
            return None
        context = _W3C.extract(headers, Context())
        return context if trace.get_current_span(context).get_span_context().is_valid else None

    def shutdown(self, timeout: float = SHUTDOWN_SECS) -> bool:
        """Export what is left, for `timeout` seconds at the most; False if spans were given up.

        Blocks: call it after the event loop has ended, or in a thread.
        """
        if self._provider is None:
            return True
        # The SDK keeps no bound when the receiver is away (its retries back off for longer).
        flush = threading.Thread(target=self._provider.shutdown, name="tracing-shutdown", daemon=True)
        flush.start()
        flush.join(timeout)
        if flush.is_alive():
            logger.warning("The last spans are lost: the OTLP receiver did not take them in %.1f s.", timeout)
        return not flush.is_alive()


def setup_tracing(
    service: str,
    *,
    worker_id: str | None = None,
    environ: Mapping[str, str] = os.environ,
    install: bool = True,
) -> Tracing:
    """Tracing for a process of the service `api`, `worker` or `scheduler`, on if `environ` names a receiver.

    The exporter and the sampler read the process's environment themselves. With `install` the provider is
    also OpenTelemetry's global one, unless the user has set one, so that what instrumented libraries do in
    users' nodes is part of the same trace.
    """
    if not _wanted(environ):
        return Tracing()
    provider = _provider(service, worker_id)
    if install and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    return Tracing(provider)


def _wanted(environ: Mapping[str, str]) -> bool:
    named = any(environ.get(name) for name in ENDPOINTS)
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not named or disabled or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        logger.warning(
            "Spans go out as http/protobuf, not %s: set %s to the HTTP port.", protocol, ENDPOINTS[1]
        )
    return True


def _provider(service: str, worker_id: str | None) -> TracerProvider:
    # Imported only when wanted: the SDK and the exporter take longer to import than the rest of telemetry.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    ours = {"service.namespace": "treadle", "service.name": f"treadle-{service}"}
    if worker_id:
        ours["service.instance.id"] = worker_id
    # The user's names win over ours.
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
