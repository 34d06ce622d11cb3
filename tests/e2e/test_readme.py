"""What the READMEs show does what they say."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

REPO = Path(__file__).parents[2]
README = REPO / "README.md"
URL = "http://127.0.0.1:2024"
SECS = 90


def blocks(path: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.S | re.M)


def snippet() -> str:
    """The one of the README."""
    [code] = blocks(README)
    return code


async def output(code: str, url: str) -> str:
    """Run a block against a server; returns what it printed."""
    assert code.count(URL) == 1
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code.replace(URL, url), stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(SECS):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_the_snippet_streams_a_run_of_each_example(api_url: str) -> None:
    text = await output(snippet(), api_url)
    assert "12.5 * (3 + 4) = 87.5" in text.splitlines()[0]
    assert "updates {'__interrupt__': [" in text
    assert "updates {'file_answer': {'answer':" in text
    assert text.splitlines()[-1] == "report None 436/436"


async def test_the_blocks_of_the_examples_do_what_is_written_beside_them(api_url: str) -> None:
    research, agent, etl = blocks(REPO / "examples" / "README.md")
    answer = await output(research, api_url)
    assert "**How are runs leased?**" in answer
    assert "a worker that dies loses no run" in answer
    assert "6" in await output(agent, api_url)
    assert "clean: etcetera.csv 33/33" in await output(etl, api_url)


def test_the_readme_begins_with_the_two_commands() -> None:
    code = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    assert [line.split("#")[0].strip() for line in code[:2]] == ["make dev", "make test"]
