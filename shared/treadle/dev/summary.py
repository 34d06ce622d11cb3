"""What a user wants to know once everything is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from treadle.dev.backends import Backend
from treadle.dev.options import DevOptions
from treadle.dev.readiness import reachable


def summary(options: DevOptions, backends: Sequence[Backend]) -> list[tuple[str, str]]:
    """Rows of title and text: where everything listens, what is served, where the data lies."""
    address = replace(options, host=reachable(options.host)).address
    return [
        ("API", address),
        ("Docs", f"{address}/docs"),
        ("Graphs", ", ".join(options.project.graphs)),
        ("Config", _config(options)),
        ("Workers", f"{options.workers}, each with up to {options.jobs_per_worker} runs at a time"),
        *((backend.title, backend.listens) for backend in backends),
        ("Data", str(options.data_dir)),
        ("Stop", "Ctrl-C"),
    ]


def _config(options: DevOptions) -> str:
    project = options.project
    notes = ["the examples of Treadle"] if project.bundled else []
    notes += ["restarts on changes"] if options.reload else []
    return f"{project.config}  ({', '.join(notes)})" if notes else str(project.config)
