"""The wheel, installed where nothing else is, serves the examples."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.test_readme import URL, snippet
from tests.stack import free_port

REPO = Path(__file__).parents[2]
LOCK = REPO / "requirements.lock"
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
INSTALL_SECS = 240
READY_SECS = 30


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder outside of the checkout that every user may pass through, as an installed program's is."""
    folder = Path(tempfile.mkdtemp(prefix="treadle-install-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def run(*command: str | Path, cwd: Path, secs: float) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=PIPE, stderr=STDOUT)
    async with asyncio.timeout(secs):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def installed(home: Path) -> Path:
    """A new environment with the locked packages and the wheel; returns its `bin`."""
    await run(
        *(sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", home, REPO),
        cwd=home,
        secs=INSTALL_SECS,
    )
    await run(sys.executable, "-m", "venv", "env", cwd=home, secs=INSTALL_SECS)
    bin_folder = home / "env" / "bin"
    python = bin_folder / "python"
    await run(
        *(python, *PIP, "install", "--require-hashes", "--no-deps", "-r", LOCK), cwd=home, secs=INSTALL_SECS
    )
    await run(python, *PIP, "install", "--no-deps", wheel_in(home), cwd=home, secs=INSTALL_SECS)
    await run(python, *PIP, "check", cwd=home, secs=INSTALL_SECS)
    return bin_folder


def wheel_in(home: Path) -> Path:
    return next(home.glob("treadle-*.whl"))


@asynccontextmanager
async def dev(bin_folder: Path, home: Path, port: int) -> AsyncGenerator[list[str]]:
    """`treadle dev` in a folder without a langgraph.json; gives what it said until it was ready."""
    process = await asyncio.create_subprocess_exec(
        *(bin_folder / "treadle", "dev", "--port", str(port), "--data-dir", home / "data"),
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield await lines_until(process, "Treadle is ready")
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(READY_SECS):
            await process.communicate()


async def lines_until(process: Process, text: str) -> list[str]:
    assert process.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(READY_SECS):
        async for line in process.stdout:
            said.append(line.decode())
            if text in said[-1]:
                return said
    raise AssertionError("".join(said))


@pytest.mark.timeout(3 * INSTALL_SECS)
async def test_the_wheel_in_an_empty_environment_serves_the_examples(home: Path) -> None:
    bin_folder = await installed(home)
    port = free_port()
    async with dev(bin_folder, home, port):
        code = snippet().replace(URL, f"http://127.0.0.1:{port}")
        out = await run(bin_folder / "python", "-c", code, cwd=home, secs=90)
    assert "updates {'file_answer': {'answer':" in out
    assert out.splitlines()[-1] == "report None 436/436"
