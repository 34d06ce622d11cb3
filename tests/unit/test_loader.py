"""Loading: what langgraph.json names is imported as it stands, and what cannot be served is explained."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.pregel import Pregel

from treadle.errors import ConfigError
from treadle.graphs.config import Config, read_config
from treadle.graphs.loader import GraphImportError, load, module_name, prepare_imports
from treadle.graphs.registry import Registry

GRAPHS = """
    from typing import TypedDict
    from langgraph.func import entrypoint
    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        text: str

    builder = StateGraph(State).add_node("node", lambda state: {"text": "done"}).add_edge(START, "node")
    compiled = builder.compile()
    unconnected = StateGraph(State).add_node("node", lambda state: state)

    @entrypoint()
    def task(text: str) -> str:
        return text

    def make():
        return builder

    number = 3
"""
Project = Callable[..., Config]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Writes a project's files (path -> code), and reads its langgraph.json; nothing of it stays imported."""
    modules, path = set(sys.modules), list(sys.path)

    def write(files: dict[str, str], env: dict[str, str] | None = None, **graphs: str) -> Config:
        for name, code in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(code), encoding="utf-8")
        config = tmp_path / "langgraph.json"
        config.write_text(json.dumps({"graphs": graphs, "env": env or {}}), encoding="utf-8")
        return read_config(config)

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def refused(config: Config, graph_id: str = "agent") -> str:
    with pytest.raises(ConfigError) as raised:
        load(config, graph_id)
    return str(raised.value)


@pytest.mark.parametrize("attribute", ["compiled", "builder", "task"])
def test_compiled_graphs_state_graphs_and_entrypoints_become_graphs(project: Project, attribute: str) -> None:
    config = project({"agent.py": GRAPHS}, agent=f"./agent.py:{attribute}")

    assert isinstance(load(config, "agent"), Pregel)


def test_a_function_is_a_factory_and_is_not_called(project: Project) -> None:
    config = project({"agent.py": "def make():\n    raise RuntimeError('called')"}, agent="./agent.py:make")

    assert callable(load(config, "agent"))


def test_a_graph_may_lie_in_a_package_next_to_langgraph_json(project: Project) -> None:
    config = project({"my_agent/__init__.py": "", "my_agent/main.py": GRAPHS}, agent="my_agent.main:compiled")
    prepare_imports(config)

    assert load(config, "agent") is sys.modules["my_agent.main"].compiled


def test_a_file_may_import_what_lies_next_to_langgraph_json(project: Project) -> None:
    files = {"helpers.py": GRAPHS, "graphs/agent.py": "from helpers import compiled as graph"}
    config = project(files, agent="./graphs/agent.py:graph")
    prepare_imports(config)

    assert isinstance(load(config, "agent"), Pregel)


def test_graphs_that_name_one_file_share_its_module(project: Project) -> None:
    config = project({"agent.py": GRAPHS}, a="./agent.py:compiled", b="agent.py:compiled")

    assert load(config, "a") is load(config, "b")


def test_files_of_similar_paths_are_different_modules(project: Project) -> None:
    """Invariant: a graph id serves the file that it names, never another one."""
    files = {"my/agent.py": GRAPHS, "my_agent.py": GRAPHS}
    config = project(files, a="./my/agent.py:compiled", b="./my_agent.py:compiled")

    assert load(config, "a") is not load(config, "b")


def test_a_file_hides_no_installed_module_of_its_name(project: Project) -> None:
    config = project({"json.py": GRAPHS}, agent="./json.py:compiled")
    load(config, "agent")

    assert sys.modules["json"] is json


def test_the_name_of_a_files_module_is_the_same_on_every_machine() -> None:
    """Checkpoints hold it: it names the classes in them."""
    here = module_name(Path("/home/me/project"), Path("/home/me/project/my/agent.py"))

    assert here == module_name(Path("/app"), Path("/app/my/agent.py"))


def test_env_reaches_the_graphs_code_but_does_not_override_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADER_TEST_SET", "outside")
    monkeypatch.setenv("LOADER_TEST_UNSET", "")
    monkeypatch.delenv("LOADER_TEST_UNSET")
    config = project(
        {}, {"LOADER_TEST_SET": "inside", "LOADER_TEST_UNSET": "inside"}, agent="./agent.py:graph"
    )

    prepare_imports(config)

    assert (os.environ["LOADER_TEST_SET"], os.environ["LOADER_TEST_UNSET"]) == ("outside", "inside")


# What cannot be served


def test_a_missing_file_is_named(project: Project, tmp_path: Path) -> None:
    message = refused(project({}, agent="./agent.py:graph"))

    assert message.startswith(f"{tmp_path / 'langgraph.json'}: `graphs.agent` (./agent.py:graph): ")
    assert message.endswith(f"{tmp_path / 'agent.py'} does not exist.")


def test_a_missing_attribute_is_named_with_the_graphs_that_are_there(project: Project) -> None:
    message = refused(project({"agent.py": GRAPHS}, agent="./agent.py:grpah"))

    assert (
        "agent.py has no attribute 'grpah'. Its graphs are: builder, compiled, unconnected, task." in message
    )


def test_something_that_is_no_graph_is_named_with_what_it_is(project: Project) -> None:
    message = refused(project({"agent.py": GRAPHS}, agent="./agent.py:number"))

    assert "(./agent.py:number) is a int: it must be a compiled graph, a StateGraph, an entrypoint" in message


def test_a_class_is_not_taken_for_a_factory(project: Project) -> None:
    assert "is a type" in refused(project({"agent.py": "class Agent: ..."}, agent="./agent.py:Agent"))


def test_a_failing_import_carries_the_users_own_traceback(project: Project, tmp_path: Path) -> None:
    files = {"agent.py": "import helpers", "helpers.py": "\n\nraise ValueError('no loom')"}
    config = project(files, agent="./agent.py:graph")
    prepare_imports(config)

    with pytest.raises(
        GraphImportError, match=r"\(\./agent\.py:graph\) could not be imported: ValueError: no loom"
    ) as raised:
        load(config, "agent")

    shown = "".join(traceback.format_exception(raised.value.__cause__))
    assert f'"{tmp_path / "agent.py"}", line 1' in shown
    assert f'"{tmp_path / "helpers.py"}", line 3' in shown


def test_a_file_that_failed_is_imported_anew_the_next_time(project: Project) -> None:
    config = project({"agent.py": "raise ValueError"}, agent="./agent.py:compiled")
    refused(config)

    project({"agent.py": GRAPHS}, agent="./agent.py:compiled")

    assert isinstance(load(config, "agent"), Pregel)


def test_a_file_that_exits_does_not_end_the_service_without_a_word(project: Project) -> None:
    message = refused(project({"agent.py": "import sys\nsys.exit('no key')"}, agent="./agent.py:graph"))

    assert "could not be imported: SystemExit: no key." in message


def test_a_missing_package_says_where_to_install_it(project: Project) -> None:
    message = refused(project({"agent.py": "import no_such_package"}, agent="./agent.py:graph"))

    assert "ModuleNotFoundError: No module named 'no_such_package'. Install it where Treadle runs" in message


def test_a_syntax_error_names_file_and_line(project: Project) -> None:
    message = refused(project({"agent.py": "def graph(:"}, agent="./agent.py:graph"))

    assert "SyntaxError" in message
    assert "agent.py, line 1" in message


def test_a_graph_that_does_not_compile_says_why(project: Project) -> None:
    message = refused(project({"agent.py": GRAPHS}, agent="./agent.py:unconnected"))

    assert "(./agent.py:unconnected) does not compile: " in message
    assert "entrypoint" in message


def test_a_factory_that_cannot_be_called_is_refused_at_the_start(project: Project) -> None:
    config = project({"agent.py": "def make(config, key): ..."}, agent="./agent.py:make")

    with pytest.raises(ConfigError, match=r"factory make\(config, key\) cannot be called"):
        Registry.load(config)


def test_the_registry_has_ids_and_descriptions(project: Project) -> None:
    config = project({"agent.py": GRAPHS}, a="./agent.py:compiled", b="./agent.py:make")

    registry = Registry.load(config)

    described: dict[str, Any] = {"a": None, "b": None}
    assert (set(registry.ids), dict(registry.descriptions)) == ({"a", "b"}, described)
    assert "a" in registry
    assert "c" not in registry
