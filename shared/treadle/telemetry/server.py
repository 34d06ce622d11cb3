"""The port that Prometheus reads, for services that serve no HTTP of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import start_http_server

from treadle.errors import ConfigError

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

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


def serve_metrics(metrics: Metrics, port: int | None, host: str = "0.0.0.0") -> MetricsServer | None:  # noqa: S104
    """Serve `metrics` at http://host:port/metrics; with no port (None or 0) nothing is served.

    Raises:
        ConfigError: the port is taken or not allowed.
    """
    if not port:
        return None
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise ConfigError(
            f"METRICS_PORT={port}: cannot listen on {host}:{port} ({error.strerror}). "
            "Choose a free port, or 0 for no metrics port."
        ) from error
    return MetricsServer(server, thread)
