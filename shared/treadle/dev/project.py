"""What `treadle dev` serves, as it needs to know it: read, but with no graph imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from treadle.dev.bundled import examples_config
from treadle.graphs.config import read_config


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
            ConfigError: there is no such file, or it cannot be used.
        """
        usual = config or Path("langgraph.json")
        bundled = config is None and not usual.exists()
        read = read_config(examples_config() if bundled else usual)
        return cls(read.path, tuple(read.graphs), read.import_paths, bundled)
