"""What the API says of itself: nothing that the reference server has is missing without a word."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.e2e.auth import everything, key_of
from tests.e2e.steps import new_thread
from tests.stack import Stack

REFERENCE = Path(__file__).parent / "reference" / "operations.json"
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"
ROOT = Path(__file__).parents[2]
FUZZ = Path(__file__).parents[1] / "fuzz" / "schemathesis.toml"
FUZZ_SECS = 120
# It has no end: it tells of a thread's runs for as long as somebody listens.
ENDLESS = "/threads/{thread_id}/stream"
METHODS = ("get", "put", "post", "patch", "delete")


def plain(operation: str) -> str:
    """Parameters go by other names elsewhere, and a slash at the end says nothing."""
    return re.sub(r"\{[^}]*\}", "{}", operation).rstrip("/")


def not_served() -> set[str]:
    """The operations that docs/compatibility.md names as missing, one a line."""
    return set(re.findall(r"^- `([A-Z]+ /\S*)`", COMPATIBILITY.read_text(encoding="utf-8"), re.M))


async def test_every_operation_of_the_reference_is_served_or_named_as_missing(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    # The description does not describe itself.
    ours = {f"{name.upper()} {path}" for path, item in paths.items() for name in item if name in METHODS}
    served = {plain(operation) for operation in ours | {"GET /docs", "GET /openapi.json"}}
    theirs: list[str] = json.loads(REFERENCE.read_text(encoding="utf-8"))

    missing = {operation for operation in theirs if plain(operation) not in served}

    named = not_served()
    assert missing - named == set(), "docs/compatibility.md has to name them, or the API to serve them"
    assert named - missing == set(), "docs/compatibility.md names what is served, or what nobody has"


async def test_what_makes_runs_or_stays_open_and_nothing_else_is_described_with_429(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    described = {
        (method, path)
        for path, item in paths.items()
        for method, operation in item.items()
        if "429" in operation["responses"]
    }
    thread, kinds = "/threads/{thread_id}", ("/runs", "/runs/wait", "/runs/stream")
    made = {*kinds, "/runs/batch", *(thread + kind for kind in kinds), f"{thread}/commands"}
    run = f"{thread}/runs/{{run_id}}"
    opened = {f"{thread}/stream/events", f"{run}/cancel", "/mcp", "/a2a/{assistant_id}"}
    followed = {f"{run}/join", f"{run}/stream", f"{thread}/stream"}
    posted = made | opened | {"/runs/crons/{cron_id}/trigger"}
    assert described == {("post", path) for path in posted} | {("get", path) for path in followed}


async def test_no_request_breaks_the_api_and_every_answer_is_as_described(
    stack: Stack, tmp_path: Path
) -> None:
    """Asked by somebody who may do everything in a tenant of its own; without its key, nothing may be answered."""
    api = await stack.api(TREADLE_API_KEYS="on")
    key = await key_of(stack, "--tenant", "fuzz.*", *everything())
    real = json.dumps(await things(get_client(url=api.url, api_key=key)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(FUZZ), "--no-color",
        "run", f"{api.url}/openapi.json", "--exclude-path", ENDLESS, "--header", f"x-api-key: {key}",
        cwd=tmp_path, env={**os.environ, "FUZZ_REAL": real, "PYTHONPATH": str(ROOT)}, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(FUZZ_SECS):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode()
    assert await api.stop() == 0


async def things(client: LangGraphClient) -> dict[str, str]:
    """One of each, by the names of path parameters."""
    thread = await new_thread(client)
    run = await client.runs.create(thread, "steps", input={"text": "a"})
    await client.runs.join(thread, run["run_id"])
    state = await client.threads.get_state(thread)
    checkpoint = state["checkpoint"]["checkpoint_id"]
    assistant = await client.assistants.create("steps")
    return {
        "thread_id": thread,
        "busy_thread_id": await new_thread(client),
        "run_id": run["run_id"],
        "checkpoint_id": checkpoint or "",
        "assistant_id": assistant["assistant_id"],
    }
