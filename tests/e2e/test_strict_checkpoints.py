"""Checkpoints are read strictly: a graph's own types come back, and nothing that was planted is called."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import ormsgpack
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import new_thread, wait
from tests.stack import Stack

OWN = {
    "customer": "Regular",
    "address": "Address",
    "since": "date",
    "password": "SecretStr",
    "line": "Line",
    "size of line": "Size",
    "place of line": "Place",
    "size": "Size",
    "anything": "dict",
    "place": "Place",
}


class Calls:
    """What pickle calls as it reads it."""

    def __init__(self, *command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[..., int], tuple[Any, ...]]:
        return subprocess.call, (self._command,)


def naming(module: str, name: str, argument: Any, code: int = 0) -> bytes:
    """A value as langgraph writes those of a type: the type by its name, and what to call it with."""
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb((module, name, argument))))


async def asked(client: LangGraphClient) -> str:
    """A thread that waits for an answer, with types of the graph's own in its state."""
    thread = await new_thread(client)
    assert "__interrupt__" in await wait(client, thread, "typed", input={})
    return thread


async def plant(stack: Stack, thread: str, kind: str, value: bytes) -> None:
    async with stack.database() as database:
        change = (
            "update checkpoint_blobs set type = $1, blob = $2 where thread_id = $3 and channel = 'anything'"
        )
        assert await database.execute(change, kind, value, thread) != "UPDATE 0"


async def test_types_of_a_graphs_own_come_back_whether_a_schema_names_them_or_not(
    client: LangGraphClient,
) -> None:
    thread = await asked(client)
    assert (await wait(client, thread, "typed", command={"resume": "go on"}))["kinds"] == OWN


async def test_what_the_api_shows_and_takes_of_such_a_state_is_as_before(client: LangGraphClient) -> None:
    thread = await asked(client)
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["customer"]["visits"] == 3
    assert state["values"]["lines"] == [{"name": "tea", "size": "large", "place": [1, 2]}]
    await client.threads.update_state(thread, {"size": "large"}, as_node="take")
    assert (await wait(client, thread, "typed", command={"resume": "go on"}))["kinds"][
        "customer"
    ] == "Regular"


@pytest.mark.parametrize("code", [0, 4, 5])
async def test_what_a_planted_value_names_is_not_called_and_the_value_is_inert(
    stack: Stack, client: LangGraphClient, tmp_path: Path, code: int
) -> None:
    thread, made = await asked(client), tmp_path / "made"
    await plant(stack, thread, "msgpack", naming("os", "system", f"touch {made}", code))

    values = await wait(client, thread, "typed", command={"resume": "go on"})
    assert (values["anything"], values["kinds"]["anything"]) == (f"touch {made}", "str")
    assert (await client.threads.get_state(thread))["values"]["anything"] == f"touch {made}"  # type: ignore[index]
    assert not made.exists()


async def test_a_planted_pickle_is_not_read_and_both_state_and_run_say_so(
    stack: Stack, client: LangGraphClient, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    thread, made = await asked(client), tmp_path / "made"
    await plant(stack, thread, "pickle", pickle.dumps(Calls("touch", str(made))))

    state = await http.get(f"/threads/{thread}/state")
    ended = await wait(client, thread, "typed", command={"resume": "go on"}, raise_error=False)
    for told in (state.json()["detail"], ended["__error__"]["message"]):
        assert "format 'pickle', which is not read" in told
        assert "`checkpointer.serde.pickle_fallback`" in told
    assert not made.exists()
