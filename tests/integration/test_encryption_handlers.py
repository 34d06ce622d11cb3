"""`encryption` of langgraph.json: the handlers that it names encrypt what is kept of states, slow ones too."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from tests.integration.accepting import accepted
from tests.integration.test_encryption import KEY, MARK, NUMBER, asking, kept
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.checkpoint.savers import Savers, open_savers
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Runs
from treadle.errors import ConfigError, EncryptionFailed
from treadle.graphs.config import Config, read_config
from treadle.model import Run

HANDLERS = """
import asyncio
from langgraph_sdk import Encryption
from langgraph_sdk.encryption.types import DecryptResult

encryption = Encryption()

@encryption.encrypt.blob
async def encrypt(ctx, blob):
    await asyncio.sleep(0)
    assert ctx.model == "checkpoint"
    return b"sealed:" + bytes(byte ^ 0x5A for byte in blob)

@encryption.decrypt.blob
async def decrypt(ctx, blob):
    await asyncio.sleep(0)
    if not blob.startswith(b"sealed:"):
        raise ValueError("no key for this")
    return DecryptResult(bytes(byte ^ 0x5A for byte in blob.removeprefix(b"sealed:")))
"""
JSON = """
@encryption.encrypt.json
async def encrypt_json(ctx, data):
    return data
"""


def config_of(folder: Path, code: str = HANDLERS, name: str = "encryption") -> Config:
    (folder / f"{name}.py").write_text(code)
    path = folder / "langgraph.json"
    path.write_text(f'{{"graphs": {{"a": "./a.py:a"}}, "encryption": {{"path": "./{name}.py:encryption"}}}}')
    return read_config(path)


@pytest.fixture
async def checkpoints(dsn: str) -> AsyncGenerator[ConnectionPool]:
    async with checkpoint_pool(dsn, size=4, service="test") as pool:
        yield pool


@pytest.fixture
async def run(pool: Pool) -> Run:
    thread_id = uuid4()
    await accepted(pool, thread_id)
    run = (await Runs(pool).claim(thread_id, Lease("worker", secs=60, max_crashes=10))).run
    assert run is not None
    return run


@pytest.fixture
async def opened(pool: Pool, checkpoints: ConnectionPool, tmp_path: Path) -> AsyncGenerator[Savers]:
    async with open_savers(config_of(tmp_path), pool, checkpoints, aes_key=KEY) as savers:
        yield savers


def place(run: Run) -> RunnableConfig:
    return {"configurable": {"thread_id": str(run.thread_id)}}


async def test_a_run_goes_to_its_question_and_on_and_nothing_of_it_is_readable(
    opened: Savers, pool: Pool, run: Run
) -> None:
    saver = await opened.of_run(run)
    graph = asking(saver)
    await graph.ainvoke({"text": f"input {MARK}"}, place(run))
    await graph.ainvoke(Command(resume=f"answer {MARK}"), place(run))
    await saver.written()
    beside = asking(await opened.of_thread(run.thread_id))
    await beside.aupdate_state(place(run), {"text": f"update {MARK}"}, as_node="ask")

    found = await kept(pool)
    assert MARK not in found
    assert str(NUMBER) not in found
    assert "sealed:" in found
    state = await beside.aget_state(place(run))
    assert (state.values["text"], state.values["words"]) == (f"update {MARK}", [MARK, f"answer {MARK}"])
    assert len([each async for each in beside.aget_state_history(place(run))]) > 3


async def test_what_was_written_with_the_key_before_is_read_with_it_besides(
    opened: Savers, pool: Pool, checkpoints: ConnectionPool, run: Run, tmp_path: Path
) -> None:
    plain = Config(tmp_path, {}, (), {})
    async with open_savers(plain, pool, checkpoints, aes_key=KEY) as savers:
        await asking(savers.shared).ainvoke({"text": "older"}, place(run))

    state = await asking(opened.shared).aget_state(place(run))

    assert state.values["text"] == f"{MARK} older"


async def test_a_handler_that_fails_is_named(opened: Savers, pool: Pool, run: Run) -> None:
    graph = asking(opened.shared)
    await graph.ainvoke({"text": "input"}, place(run))
    await pool.execute("update checkpoint_blobs set blob = 'other' where blob is not null")

    with pytest.raises(
        EncryptionFailed, match=r"encryption.path.*a handler failed: ValueError: no key for this"
    ):
        await graph.aget_state(place(run))


@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("none", "encryption = 1", "is a int: it must be a langgraph_sdk.Encryption"),
        ("half", HANDLERS.partition("@encryption.decrypt")[0], "needs both handlers of blobs"),
        ("json", HANDLERS + JSON, "has handlers of JSON or of the context, which are not supported"),
    ],
)
async def test_what_would_not_be_heeded_is_refused(
    pool: Pool, checkpoints: ConnectionPool, tmp_path: Path, name: str, code: str, problem: str
) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match=problem):
            await stack.enter_async_context(
                open_savers(config_of(tmp_path, code, f"enc_{name}"), pool, checkpoints)
            )
