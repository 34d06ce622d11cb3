"""The little that `treadle dev` itself needs to know of a langgraph.json.

It reads the file without importing a graph; what the file means in full is the business of the services.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from treadle.dev.bundled import examples_config
from treadle.errors import ConfigError


@dataclass(frozen=True)
class Project:
    """A langgraph.json: its path, the names of its graphs, and the directories its code lies in.

    Attributes:
        bundled: whether it is that of the examples, for want of another.
    """

    config: Path
    graphs: tuple[str, ...]
    directories: tuple[Path, ...]
    bundled: bool = False

    @classmethod
    def read(cls, config: Path | None) -> Project:
        """Read the file; None: ./langgraph.json, or else the examples that come with Treadle.

        Raises:
            ConfigError: there is no such file, or it is not a JSON object with graphs.
        """
        usual = config or Path("langgraph.json")
        bundled = config is None and not usual.exists()
        path = (examples_config() if bundled else usual).resolve()
        content = _load(path)
        graphs = content.get("graphs")
        if not isinstance(graphs, dict) or not graphs:
            raise ConfigError(
                f'{path} names no graphs. Add `"graphs": {{"name": "./file.py:attribute"}}` to it.'
            )
        names = tuple(map(str, cast(dict[str, Any], graphs)))
        return cls(path, names, (path.parent, *_local_dependencies(path, content)), bundled)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name a langgraph.json with --config."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object.")
    return cast(dict[str, Any], content)


def _local_dependencies(config: Path, content: dict[str, Any]) -> list[Path]:
    """Dependencies that are directories; the others are packages, which do not change under our feet."""
    entries: list[Any] = content.get("dependencies") or []
    places = [(config.parent / str(entry)).resolve() for entry in entries]
    return [place for place in places if place.is_dir()]
