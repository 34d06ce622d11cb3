"""langgraph.json: what it may say, and an error that names file, field, problem and way out for all the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from treadle.errors import ConfigError
from treadle.graphs.config import Config, GraphEntry, read_config
from treadle.graphs.storage import CheckpointerSection, StoreIndex, StoreSection
from treadle.model import Ttl


def write(folder: Path, content: Any) -> Path:
    path = folder / "langgraph.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(folder: Path, **fields: Any) -> Config:
    return read_config(write(folder, {"graphs": {"agent": "./agent.py:graph"}, **fields}))


def refused(path: Path) -> str:
    """The message of the error that reading the file raises; it begins with the file."""
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}") as raised:
        read_config(path)
    return str(raised.value).removeprefix(str(path)).lstrip(": ")


# What it may say


def test_threads_may_live_for_a_while(tmp_path: Path) -> None:
    ttl = {"strategy": "keep_latest", "default_ttl": 0.5, "sweep_interval_minutes": 10, "sweep_limit": 7}
    given = read(tmp_path, checkpointer={"ttl": ttl}).checkpointer.thread_ttl

    assert (given.default, given.sweep_interval_secs, given.sweep_limit) == (Ttl("keep_latest", 0.5), 600, 7)
    assert read(tmp_path).checkpointer.thread_ttl.default is None


@pytest.mark.parametrize(
    ("ttl", "key"),
    [
        ({"strategy": "forget"}, "checkpointer.ttl.strategy"),
        ({"default_ttl": 0}, "checkpointer.ttl.default_ttl"),
        ({"sweep_interval_minutes": -1}, "checkpointer.ttl.sweep_interval_minutes"),
        ({"sweep_limit": 0}, "checkpointer.ttl.sweep_limit"),
        ({"defaultTtl": 5}, "checkpointer.ttl"),
    ],
)
def test_a_time_to_live_that_cannot_be_is_refused(tmp_path: Path, ttl: dict[str, Any], key: str) -> None:
    content = {"graphs": {"agent": "./agent.py:graph"}, "checkpointer": {"ttl": ttl}}

    assert refused(write(tmp_path, content)).startswith(f"`{key}`: ")


def test_a_graph_is_a_path_or_an_object_with_a_description(tmp_path: Path) -> None:
    config = read(tmp_path, graphs={"a": "./a.py:graph", "b": {"path": "pkg.b:make", "description": "B."}})

    assert config.graphs == {"a": GraphEntry("./a.py:graph"), "b": GraphEntry("pkg.b:make", "B.")}


def test_code_is_imported_from_the_files_own_folder_and_from_local_dependencies(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()

    config = read(tmp_path, dependencies=[".", "./lib", "langchain-openai", "requests>=2"])

    assert config.folder == tmp_path
    assert set(config.import_paths) == {tmp_path, tmp_path / "lib"}


def test_env_is_an_object_whose_values_become_text(tmp_path: Path) -> None:
    config = read(tmp_path, env={"NAME": "loom", "COUNT": 3, "RATIO": 0.5, "ON": True})

    assert config.env == {"NAME": "loom", "COUNT": "3", "RATIO": "0.5", "ON": "true"}


def test_env_is_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\n\nNAME=loom\nexport SPACED = two words \nSINGLE='a # b'\nDOUBLE=\"c\" # d\n"
        "COMMENTED=e # f\nHASH=g#h\nEQUALS=a=b\nEMPTY=\nNAME=shuttle\n",
        encoding="utf-8",
    )

    assert read(tmp_path, env=".env").env == {
        "NAME": "shuttle",
        "SPACED": "two words",
        "SINGLE": "a # b",
        "DOUBLE": "c",
        "COMMENTED": "e",
        "HASH": "g#h",
        "EQUALS": "a=b",
        "EMPTY": "",
    }


def test_encryption_that_would_not_be_done_is_refused(tmp_path: Path) -> None:
    content = {
        "graphs": {"agent": "./agent.py:graph"},
        "encryption": {"path": "./encryption.py:encryption"},
        "checkpointer": {"path": "./checkpointer.py:saver"},
    }
    assert refused(write(tmp_path, content)).startswith(
        "`encryption` would not be heeded: `checkpointer.path`"
    )
    assert refused(write(tmp_path, {**content, "encryption": {}})).startswith("`encryption`: ")


def test_fields_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, python_version="3.12", dockerfile_lines=["RUN true"], ui={"index": {}}).env == {}


def test_the_http_section_has_defaults_that_fit_the_public_clients(tmp_path: Path) -> None:
    http = read(
        tmp_path, http={"app": "./webapp.py:app", "cors": {"allow_origins": ["*"]}, "disable_mcp": True}
    ).http

    assert (http.app, http.disable_mcp, http.disable_a2a) == ("./webapp.py:app", True, False)
    assert http.cors is not None
    assert (http.cors.allow_methods, "content-location" in http.cors.expose_headers) == (("*",), True)
    assert read(tmp_path, http=None).http == read(tmp_path).http


def test_both_spellings_of_header_patterns_are_taken(tmp_path: Path) -> None:
    for keys in ("includes", "excludes"), ("include", "exclude"):
        patterns = read(tmp_path, http={"configurable_headers": {key: ["x-*"] for key in keys}}).http
        assert patterns.configurable_headers is not None
        assert (patterns.configurable_headers.wanted, patterns.configurable_headers.unwanted) == (
            ["x-*"],
        ) * 2


# What it may not say


def test_a_missing_file_is_named_with_the_option_that_names_another(tmp_path: Path) -> None:
    assert refused(tmp_path / "langgraph.json") == "does not exist. Name your langgraph.json with --config."


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    assert refused(write(tmp_path, '{"graphs": ')).startswith("is not valid JSON: ")


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        ([], "the file", "Expected `object`, got `array`"),
        ({}, "the file", "missing required field `graphs`"),
        ({"graphs": {}}, "`graphs`", "is empty. Name at least one"),
        ({"graphs": ["./a.py:graph"]}, "`graphs`", "Expected `object`, got `array`"),
        ({"graphs": {"a": 3}}, "`graphs.a`", "Expected `object`, got `int`"),
        ({"graphs": {"a": {}}}, "`graphs.a`", "missing required field `path`"),
        ({"graphs": {"a": {"path": 3}}}, "`graphs.a.path`", "Expected `str`, got `int`"),
        (
            {"graphs": {"a": "./a.py"}},
            "`graphs.a`",
            "write './file.py:attribute' or 'package.module:attribute'",
        ),
        ({"graphs": {"a": "./a.py:not-a-name"}}, "`graphs.a`", "write './file.py:attribute'"),
        ({"graphs": {"a": ":graph"}}, "`graphs.a`", "write './file.py:attribute'"),
        ({"graphs": {"a/b": "./a.py:graph"}}, "`graphs`", "'a/b': an id is 1 to 128 characters"),
        ({"graphs": {"": "./a.py:graph"}}, "`graphs`", "'': an id is 1 to 128 characters"),
    ],
)
def test_a_wrong_graph_is_named(tmp_path: Path, content: Any, field: str, problem: str) -> None:
    message = refused(write(tmp_path, content))

    assert message.startswith(field)
    assert problem in message


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"dependencies": "."}, "`dependencies`", "Expected `array`, got `str`"),
        ({"dependencies": [3]}, "`dependencies[0]`", "Expected `str`, got `int`"),
        ({"dependencies": ["./no", "./none"]}, "`dependencies`", "folders that do not exist"),
        ({"env": 3}, "`env`", "got `int`"),
        ({"env": {"NAME": None}}, "`env.NAME`", "got `null`"),
        ({"env": {"NAME": ["a"]}}, "`env.NAME`", "got `array`"),
        ({"http": []}, "`http`", "got `array`"),
        ({"http": {"app": "./webapp.py"}}, "`http.app`", "write './file.py:attribute'"),
        ({"http": {"disable_mpc": True}}, "`http`", "unknown field `disable_mpc`"),
        ({"http": {"disable_mcp": 1}}, "`http.disable_mcp`", "Expected `bool`"),
        ({"http": {"cors": {"allow_origins": "*"}}}, "`http.cors.allow_origins`", "Expected `array`"),
        (
            {"http": {"cors": {"allow_origin_regex": "("}}},
            "`http.cors.allow_origin_regex`",
            "no regular expression",
        ),
        ({"http": {"mount_prefix": "api"}}, "`http.mount_prefix`", "write a path like '/api'"),
        ({"env": "no.env"}, "`env`", "no.env, which cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, fields: dict[str, Any], field: str, problem: str) -> None:
    message = refused(write(tmp_path, {"graphs": {"agent": "./agent.py:graph"}, **fields}))

    assert message.startswith(field)
    assert problem in message


def test_a_wrong_line_of_an_env_file_is_named_but_not_shown_for_it_may_hold_a_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NAME=loom\nhunter2\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"\.env, line 2: write NAME=value") as raised:
        read(tmp_path, env=".env")

    assert "hunter2" not in str(raised.value)


# The store and the checkpointer


def test_the_store_and_the_checkpointer_are_the_standard_ones_unless_named(tmp_path: Path) -> None:
    config = read(tmp_path)

    assert (config.store, config.checkpointer) == (StoreSection(), CheckpointerSection())


def test_an_index_of_ones_own_says_how_long_its_vectors_are(tmp_path: Path) -> None:
    index = {"embed": "./embed.py:embed", "dims": 3, "fields": ["text"]}

    assert read(tmp_path, store={"index": index}).store.index == StoreIndex(
        embed="./embed.py:embed", dims=3, fields=["text"]
    )
    assert read(tmp_path, store={"index": {"embed": "local"}}).store.index == StoreIndex(embed="local")


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"store": {"index": {"embed": "openai:small"}}}, "store.index.dims"),
        ({"store": {"index": {"embed": "somewhere", "dims": 3}}}, "store.index.embed"),
        ({"store": {"index": {"embed": "local", "dims": 0}}}, "store.index.dims"),
        ({"store": {"index": {"dims": 3}}}, "store.index"),
        ({"store": {"ttl": {"default_ttl": 0}}}, "store.ttl.default_ttl"),
        ({"store": {"path": "nowhere"}}, "store.path"),
        ({"checkpointer": {"path": "nowhere"}}, "checkpointer.path"),
    ],
)
def test_a_section_that_cannot_be_used_is_named(tmp_path: Path, section: Any, key: str) -> None:
    assert f"`{key}`" in refused(write(tmp_path, {"graphs": {"agent": "./agent.py:graph"}, **section}))
