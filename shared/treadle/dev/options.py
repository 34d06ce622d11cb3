"""What `treadle dev` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from treadle.dev.project import Project


@dataclass(frozen=True)
class DevOptions:
    """The options of the command, checked."""

    project: Project
    host: str = "127.0.0.1"
    port: int = 2024
    data_dir: Path = Path(".treadle")
    workers: int = 1
    jobs_per_worker: int = 10
    reload: bool = False

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"
