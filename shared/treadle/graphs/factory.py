"""Factories: the user's functions that make a graph per run; sync or async, plain or context managers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any, Literal, cast, get_args, get_origin

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime

from treadle.errors import ConfigError
from treadle.graphs.loader import Graph
from treadle.identity.user import User

# The two classes behind the alias, without their type parameters: the parametrised ones cannot be called.
_ExecutionRuntime, _ReadRuntime = (get_origin(kind) for kind in get_args(cast(Any, ServerRuntime).__value__))

Argument = Literal["config", "runtime"]


def arguments_of(factory: Callable[..., Any]) -> dict[str, Argument]:
    """Which of its parameters a factory gets the `config` and the `runtime` by.

    A parameter is the runtime when it is named so or annotated as ServerRuntime. It is the config when it is named
    so or annotated as RunnableConfig, or when nothing else would fill it.

    Raises:
        ConfigError: it needs more than these two.
    """
    parameters = _signature(factory).parameters.values()
    found: dict[str, Argument] = {
        parameter.name: kind for parameter in parameters if (kind := _kind(parameter)) is not None
    }
    if len(set(found.values())) != len(found):
        raise ConfigError(
            f"the graph factory {_name(factory)}({', '.join(found)}) cannot be called: a factory takes nothing, "
            "`config`, `runtime`, or both."
        )
    return found


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    """With annotations that are evaluated where they can be; names for type checkers only stay text."""
    try:
        return inspect.signature(factory, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return inspect.signature(factory)


def _kind(parameter: inspect.Parameter) -> Argument | None:
    """What to give for a parameter; None: nothing, since it stands for itself."""
    annotation = str(parameter.annotation)
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    if parameter.name == "runtime" or "ServerRuntime" in annotation:
        return "runtime"
    if parameter.name == "config" or "RunnableConfig" in annotation:
        return "config"
    return "config" if parameter.default is parameter.empty else None


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__qualname__", None) or repr(factory)


def runtime_for(access: AccessContext, store: BaseStore, context: Any, user: User | None = None) -> Any:
    """The ServerRuntime that a factory sees; only an execution carries the run's context."""
    if access == "threads.create_run":
        return _ExecutionRuntime(access_context=access, store=store, context=context, user=user)
    return _ReadRuntime(access_context=access, store=store, user=user)


@asynccontextmanager
async def call(factory: Callable[..., Any], config: Mapping[str, Any], runtime: Any) -> AsyncGenerator[Graph]:
    """Call a factory and give its graph, for as long as the block lasts.

    Raises:
        ConfigError: what it made is not a graph.
    """
    made = _made(factory, {"config": config, "runtime": runtime})
    if isinstance(made, AbstractAsyncContextManager):
        async with cast("AbstractAsyncContextManager[Any]", made) as graph:
            yield _compiled(graph, factory)
    elif isinstance(made, AbstractContextManager) and not isinstance(made, Pregel):
        with cast("AbstractContextManager[Any]", made) as graph:
            yield _compiled(graph, factory)
    elif inspect.isawaitable(made):
        yield _compiled(await made, factory)
    else:
        yield _compiled(made, factory)


def _made(factory: Callable[..., Any], given: Mapping[Argument, Any]) -> Any:
    parameters = inspect.signature(factory).parameters
    arguments = {name: given[kind] for name, kind in arguments_of(factory).items()}
    positional = [
        arguments.pop(name)
        for name in list(arguments)
        if parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    return factory(*positional, **arguments)


def _compiled(made: Any, factory: Callable[..., Any]) -> Graph:
    if isinstance(made, StateGraph):
        return cast(Graph, made.compile())
    if isinstance(made, Pregel):
        return cast(Graph, made)
    raise ConfigError(
        f"the graph factory {_name(factory)} returned a {type(made).__name__}; it must return a graph."
    )
