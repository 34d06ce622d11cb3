"""What is asked of a server, one module per subject, one coroutine per conversation."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import ModuleType

from tests.e2e.reference.scenarios import (
    a2a,
    assistants,
    batches,
    bulk_cancels,
    cancels,
    commands,
    crons,
    errors,
    forks,
    graphs,
    interrupts,
    mcp,
    messages,
    protocol,
    runs,
    states,
    store,
    strategies,
    streams,
    thread_copies,
    thread_search,
    threads,
)
from tests.e2e.reference.talk import Talk

Scenario = Callable[[Talk], Awaitable[None]]


def _scenarios(module: ModuleType) -> dict[str, Scenario]:
    functions = inspect.getmembers(module, inspect.iscoroutinefunction)
    written = {name: function for name, function in functions if not name.startswith("_")}
    made: dict[str, Scenario] = getattr(module, "MADE", {})
    return {**written, **made}


GROUPS: dict[str, dict[str, Scenario]] = {
    module.__name__.rpartition(".")[2]: _scenarios(module)
    for module in (
        streams,
        graphs,
        interrupts,
        commands,
        forks,
        messages,
        threads,
        thread_search,
        thread_copies,
        states,
        runs,
        batches,
        cancels,
        bulk_cancels,
        strategies,
        errors,
        mcp,
        assistants,
        crons,
        store,
        a2a,
        protocol,
    )
}
