"""The port that Prometheus and probes read, for services that serve no HTTP of their own."""

from __future__ import annotations

from dataclasses import dataclass
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client

from treadle import json
from treadle.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from treadle.readiness import Readiness
    from treadle.telemetry.metrics import Metrics


@dataclass(frozen=True)
class MetricsServer:
    """A running /metrics endpoint, on a thread of its own."""

    server: WSGIServer
    thread: Thread

    @property
    def port(self) -> int:
        return self.server.server_port

    def close(self) -> None:
        """Stop serving and free the port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def serve_metrics(
    metrics: Metrics,
    readiness: Readiness,
    port: int | None,
    host: str = "0.0.0.0",  # noqa: S104
) -> MetricsServer | None:
    """Serve `metrics` at http://host:port/metrics and `readiness` at /ok; with no port (None or 0) nothing is served.

    Raises:
        ConfigError: the port is taken or not allowed.
    """
    if not port:
        return None
    try:
        server = make_server(host, port, _app(metrics, readiness), _Server, _Silent)
    except OSError as error:
        raise ConfigError(
            f"METRICS_PORT={port}: cannot listen on {host}:{port} ({error.strerror}). "
            "Choose a free port, or 0 for no metrics port."
        ) from error
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    return MetricsServer(server, thread)


def _app(metrics: Metrics, readiness: Readiness) -> WSGIApplication:
    """/ok as the API answers it (503 while no work is taken); everything else is metrics."""
    counted = cast("WSGIApplication", cast(Any, prometheus_client).make_wsgi_app(metrics.registry))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/ok":
            return counted(environ, start_response)
        view = readiness.view()
        status = "200 OK" if view["ok"] else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.encode(view)]

    return app


class _Server(ThreadingMixIn, WSGIServer):
    """A slow scraper keeps no probe waiting."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """A line for each scrape would say nothing."""
