"""What every service process does around its own work: settings, logs, graphs, traces, exit codes."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from treadle import settings as treadle_settings
from treadle.errors import ConfigError
from treadle.graphs.config import Config, read_config
from treadle.graphs.loader import GraphImportError
from treadle.graphs.registry import Registry
from treadle.settings import Settings
from treadle.telemetry.logs import setup_logging
from treadle.telemetry.tracing import Tracing, setup_tracing

# sysexits.h: the configuration (or a graph) cannot be used; starting again would not help.
EX_CONFIG = os.EX_CONFIG
# Objects, and then collections of the generation before, after which the garbage collector looks.
COLLECT_AFTER = (2_000, 10, 10)


@dataclass(frozen=True)
class Given:
    """What every service starts from."""

    settings: Settings
    config: Config
    registry: Registry
    tracing: Tracing


Main = Callable[[Given], Coroutine[Any, Any, None]]


def serve(service: str, main: Main, *, graphs: bool = True) -> None:
    """Run a service until it is told to stop; exits with EX_CONFIG when it cannot start as configured.

    Args:
        graphs: whether the service needs the graphs of langgraph.json, and not only what it says besides.
    """
    try:
        settings = treadle_settings.load()
        setup_logging(service, settings.log_level, settings.log_format)
        config = read_config(Path(settings.langgraph_config))
        registry = Registry.load(config) if graphs else Registry({}, {})
        spare_collector()
        _run(service, main, settings, config, registry)
    except ConfigError as error:
        _explain(error)
        sys.exit(EX_CONFIG)


def spare_collector() -> None:
    """Keep the garbage collector away from what was imported: it stays, and going over it took a fifth of the API's CPU.

    What is made from now on is looked at less often too: hardly any of it is garbage in circles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _run(service: str, main: Main, settings: Settings, config: Config, registry: Registry) -> None:
    tracing = setup_tracing(service, worker_id=f"{service}-{os.getpid()}")
    try:
        uvloop.run(main(Given(settings, config, registry, tracing)))
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("%s stopped", service)
    finally:
        tracing.shutdown()


def _explain(error: ConfigError) -> None:
    """The traceback of the user's own code first, if it is at fault; then what it means."""
    if isinstance(error, GraphImportError):
        traceback.print_exception(error.__cause__)
    sys.stderr.write(f"treadle: {error}\n")
