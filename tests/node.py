"""The public JavaScript client: scripts of tests/js, run by node against an API."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "js"
PACKAGES = SCRIPTS / "node_modules" / ".package-lock.json"
SCRIPT_SECS = 60.0


async def node(script: str, url: str, **given: Any) -> list[Any]:
    """Run a script of tests/js to its end.

    Args:
        script: the name of its file, without `.mjs`.
        url: of the API that it talks to.
        given: what it is told besides, as JSON.

    Returns:
        The values that it wrote, one a line.
    """
    process = await asyncio.create_subprocess_exec(
        _node(),
        "--experimental-websocket",  # node 20 has it, and does not show it
        str(SCRIPTS / f"{script}.mjs"),
        url,
        json.dumps(given),
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(SCRIPT_SECS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"{script}.mjs did not end:\n{out.decode()}\n{err.decode()}") from None
    assert process.returncode == 0, f"{script}.mjs failed:\n{out.decode()}\n{err.decode()}"
    return [json.loads(line) for line in out.decode().splitlines()]


def _node() -> str:
    program = shutil.which("node")
    assert program is not None, "these tests need node 20 or newer on the PATH: install it"
    assert PACKAGES.exists(), "the JavaScript client is not installed: run `make js`"
    return program
