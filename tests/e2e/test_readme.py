"""The README's snippet does what the README says: it streams a run of each example."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
URL = "http://127.0.0.1:2024"
SECS = 90


def snippet() -> str:
    found = re.search(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.S | re.M)
    assert found, "README.md has no Python block"
    return found[1]


async def test_the_snippet_streams_a_run_of_each_example(api_url: str) -> None:
    code = snippet()
    assert code.count(URL) == 1
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code.replace(URL, api_url), stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(SECS):
        out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0, text
    assert "12.5 * (3 + 4) = 87.5" in text.splitlines()[0]
    assert "updates {'__interrupt__': [" in text
    assert "updates {'file_answer': {'answer':" in text
    assert text.splitlines()[-1] == "report None 436/436"


def test_the_readme_begins_with_the_two_commands() -> None:
    code = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    assert [line.split("#")[0].strip() for line in code[:2]] == ["make dev", "make test"]
