"""Loads what langgraph.json names: compiled graphs, StateGraphs, functional-API entrypoints, and factories."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from treadle.errors import ConfigError
from treadle.graphs.config import Config

Graph = Pregel[Any, Any, Any, Any]


class GraphImportError(ConfigError):
    """Code that langgraph.json names failed when it was imported or started; `__cause__` is the user's own error."""


def prepare_imports(config: Config) -> None:
    """Make the user's code importable and give it its environment; variables that are set already stand."""
    for folder in reversed(config.import_paths):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    for name, value in config.env.items():
        os.environ.setdefault(name, value)


def load(config: Config, graph_id: str) -> Graph | Callable[..., Any]:
    """Import what a graph id names: a compiled graph, or the factory that makes one per run.

    Raises:
        GraphImportError: the user's code raised.
        ConfigError: the attribute is missing, or is nothing that can serve.
    """
    path = config.graphs[graph_id].path
    where = f"{config.path}: `graphs.{graph_id}` ({path})"
    return _servable(named(config, path, where, _candidates), where)


def named(
    config: Config,
    path: str,
    where: str,
    hint: Callable[[ModuleType], str] = lambda module: "Define it there.",
) -> Any:
    """Import what a path of langgraph.json names: `./file.py:attribute` or `package.module:attribute`.

    Args:
        where: the file and the key that name it, for errors.
        hint: what an error says of a module that has no such attribute.

    Raises:
        GraphImportError: the user's code raised.
        ConfigError: there is no such attribute.
    """
    name, _, attribute = path.rpartition(":")
    module = _import(config, name, where)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(
            f"{where}: {module.__file__} has no attribute {attribute!r}. {hint(module)}"
        ) from None


def _import(config: Config, name: str, where: str) -> ModuleType:
    try:
        if name.endswith(".py") or "/" in name:
            return _import_file(config.folder, (config.folder / name).resolve(), where)
        return importlib.import_module(name)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise GraphImportError(f"{where} could not be imported: {_explain(error)}") from error


def _explain(error: BaseException) -> str:
    missing = isinstance(error, ModuleNotFoundError)
    hint = " Install it where Treadle runs, or name its folder in `dependencies`." if missing else ""
    return f"{type(error).__name__}: {error}.{hint}"


def module_name(folder: Path, file: Path) -> str:
    """The name under which a file is imported.

    Checkpoints name the classes in them by module. So the name depends on where the file lies under the folder of
    langgraph.json, not on where that folder lies: another machine must read the same checkpoints. The digest tells
    `agent/graph.py` from `agent_graph.py`, and either from what is installed.
    """
    relative = Path(os.path.relpath(file, folder)).as_posix()
    return f"{file.stem}_{hashlib.sha256(relative.encode()).hexdigest()[:12]}"


def _import_file(folder: Path, file: Path, where: str) -> ModuleType:
    """Import a file under a name of its own; two ids that name one file share the module."""
    name = module_name(folder, file)
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(file):
        return known
    if not file.is_file():
        raise ConfigError(f"{where}: {file} does not exist.")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{where}: {file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _candidates(module: ModuleType) -> str:
    graphs = [name for name, value in vars(module).items() if isinstance(value, Pregel | StateGraph)]
    return f"Its graphs are: {', '.join(graphs)}." if graphs else "It has no graph; define one there."


def _servable(found: Any, where: str) -> Graph | Callable[..., Any]:
    if isinstance(found, StateGraph):
        return _compiled(cast("StateGraph[Any]", found), where)
    if isinstance(found, Pregel):
        return cast(Graph, found)
    if callable(found) and not inspect.isclass(found):
        return cast("Callable[..., Any]", found)
    raise ConfigError(
        f"{where} is a {type(found).__name__}: it must be a compiled graph, a StateGraph, an entrypoint, or a "
        "function that makes one."
    )


def _compiled(graph: StateGraph[Any], where: str) -> Graph:
    try:
        return graph.compile()
    except ValueError as error:
        raise GraphImportError(f"{where} does not compile: {error}") from error
