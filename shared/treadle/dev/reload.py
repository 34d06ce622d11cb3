"""Tells when the user's code or configuration has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, DefaultFilter
from watchfiles import awatch as _awatch  # pyright: ignore[reportUnknownVariableType] - its anyio types

from treadle.dev.project import Project


class _CodeFilter(DefaultFilter):
    """Python files, the langgraph.json and .env files; not caches, virtualenvs, or our own data."""

    def __init__(self, project: Project, data_dir: Path) -> None:
        super().__init__(ignore_paths=[data_dir])
        self._config = project.config

    def __call__(self, change: Change, path: str) -> bool:
        file = Path(path)
        wanted = file.suffix == ".py" or file == self._config or file.name.startswith(".env")
        return wanted and super().__call__(change, path)


async def changes(project: Project, data_dir: Path) -> AsyncIterator[list[Path]]:
    """Yield the files changed, as often as some change; files written together come together."""
    watch_filter = _CodeFilter(project, data_dir)
    async for changed in _awatch(*project.directories, watch_filter=watch_filter):
        yield sorted({Path(path) for _, path in changed})
