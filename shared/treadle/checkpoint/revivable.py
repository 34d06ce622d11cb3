"""Which types the values of a checkpoint may become again.

A checkpoint names the types of its values, and reviving one calls what has that name: whoever can write to the database could
have `os.system` called. So only types are revived that hold data, and nothing else is so much as imported: what langgraph itself
knows to be safe, what the schemas of the graphs that are served name, what langgraph.json allows, and the data types that the
project's own code defines. The value of another type stays what it was written as: a mapping, a list, a text.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from treadle.graphs.config import Config

Name = tuple[str, ...]

# Besides those that langgraph knows. They hold a text that is not to be shown, and would be shown.
HARMLESS: frozenset[Name] = frozenset({("pydantic.types", "SecretStr"), ("pydantic.types", "SecretBytes")})
# What lies there was installed, also where that is below the project's folder.
INSTALLED = frozenset({"site-packages", "dist-packages"})


class Project:
    """The code that langgraph.json is about.

    Args:
        folders: where it lies.
        packages: those that it names as modules, wherever they are installed.
    """

    def __init__(self, folders: Iterable[Path], packages: Collection[str] = ()) -> None:
        self._folders = tuple(folders)
        self._packages = frozenset(packages)

    @classmethod
    def of(cls, config: Config) -> Project:
        modules = (entry.path.rpartition(":")[0] for entry in config.graphs.values())
        packages = [
            name.partition(".")[0] for name in modules if "/" not in name and not name.endswith(".py")
        ]
        return cls(config.import_paths, packages)

    def defines(self, module: str, name: str) -> bool:
        """Whether this is a data type of the project's, which has been imported already."""
        found = sys.modules.get(module)
        kind = getattr(found, name, None)
        return isinstance(kind, type) and self._has(found) and kind.__module__ == module and _holds_data(kind)

    def _has(self, module: Any) -> bool:
        package = module.__name__.partition(".")[0]
        if package in self._packages:
            return True
        file = getattr(module, "__file__", None)
        if file is None or package in sys.stdlib_module_names:
            return False
        path = Path(file).resolve()
        return INSTALLED.isdisjoint(path.parts) and any(path.is_relative_to(each) for each in self._folders)


class Revivable:
    """What may be revived. It grows with the schemas of the graphs that are used, and never shrinks."""

    def __init__(self, project: Project, names: Iterable[Name] = ()) -> None:
        self._project = project
        self._names: set[Name] = {*HARMLESS, *names}

    def __contains__(self, name: object) -> bool:
        match name:
            case (str(module), str(attribute)):
                return name in self._names or self._is_own(module, attribute)
            case _:
                return False

    def add(self, names: Iterable[Name]) -> None:
        self._names.update(names)

    def _is_own(self, module: str, attribute: str) -> bool:
        own = self._project.defines(module, attribute)
        if own:
            self._names.add((module, attribute))
        return own


def _holds_data(kind: type[object]) -> bool:
    # pydantic's first version, if anybody has imported that.
    old: type[Any] = getattr(sys.modules.get("pydantic.v1"), "BaseModel", BaseModel)
    named_tuple = issubclass(kind, tuple) and hasattr(cast(Any, kind), "_fields")
    return named_tuple or issubclass(kind, Enum | BaseModel | old) or is_dataclass(cast(Any, kind))
