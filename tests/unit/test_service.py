"""A service that cannot start as configured says why in a line, and exits so that nobody starts it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ADDRESSES = {
    "DATABASE_URI": "postgresql://127.0.0.1:1/none",
    "REDIS_URI": "redis://127.0.0.1:1",
    "NATS_URL": "nats://127.0.0.1:1",
}


def start(service: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start a service with an environment of its own; it is to end by itself."""
    plain = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
    return subprocess.run(
        [sys.executable, "-m", service],
        cwd=folder,
        env={**plain, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_setting_that_is_missing_is_named_and_no_more(tmp_path: Path) -> None:
    ended = start("treadle_scheduler", tmp_path, {**ADDRESSES, "NATS_URL": ""})

    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.startswith("treadle: NATS_URL must be set in the environment.")
    assert "Traceback" not in ended.stderr


def test_a_mistake_in_langgraph_json_is_named_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": 3}}))

    ended = start("treadle_worker", tmp_path, ADDRESSES)

    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.startswith(f"treadle: {tmp_path / 'langgraph.json'}: `graphs.agent`: ")
    assert "Traceback" not in ended.stderr


def test_a_graph_that_fails_to_import_is_shown_with_its_traceback_and_file(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("def load():\n    raise ValueError('no loom')\n\n\ngraph = load()\n")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))

    ended = start("treadle_worker", tmp_path, ADDRESSES)

    assert ended.returncode == os.EX_CONFIG
    assert f'File "{tmp_path / "agent.py"}", line 2, in load' in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"treadle: {tmp_path / 'langgraph.json'}: `graphs.agent`")
