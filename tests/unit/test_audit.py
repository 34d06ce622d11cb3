"""The audit of the lock file fails for known vulnerabilities, and for nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = 'one==1.0 \\\n    --hash=sha256:00\ntwo==2.0 ; sys_platform != "win32" \\\n    --hash=sha256:11\n'


class _Osv(BaseHTTPRequestHandler):
    """Answers as OSV does; the path says what is known to it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        known = {"/bad": {"two": [{"id": "GHSA-two"}]}, "/good": {}}.get(
            self.path.removesuffix("/v1/querybatch")
        )
        results = (
            [{"vulns": known.get(each["package"]["name"], [])} for each in asked] if known is not None else []
        )
        body = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="module")
def osv() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Osv) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def audit(folder: Path, service: str) -> subprocess.CompletedProcess[str]:
    lock = folder / "requirements.lock"
    lock.write_text(LOCK)
    command = [sys.executable, ROOT / ".ci" / "audit.py", lock, service]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_known_vulnerability_fails(tmp_path: Path, osv: str) -> None:
    done = audit(tmp_path, f"{osv}/bad")

    assert done.returncode == 1
    assert "two 2.0: https://osv.dev/GHSA-two" in done.stdout
    assert "one" not in done.stdout.split("\n")[0]


def test_without_one_it_passes(tmp_path: Path, osv: str) -> None:
    done = audit(tmp_path, f"{osv}/good")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 packages of ")


def test_a_service_that_answers_something_else_is_no_failure(tmp_path: Path, osv: str) -> None:
    done = audit(tmp_path, f"{osv}/odd")

    assert done.returncode == 0
    assert "was not audited" in done.stdout


def test_a_service_that_is_away_is_no_failure(tmp_path: Path) -> None:
    done = audit(tmp_path, "http://127.0.0.1:1")

    assert done.returncode == 0
    assert "was not audited" in done.stdout
