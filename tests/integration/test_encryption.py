"""With LANGGRAPH_AES_KEY nothing of a state is readable in the checkpoint tables, whoever writes it; what is older stays readable."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, TypedDict, cast
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from tests.integration.accepting import accepted
from tests.integration.test_stock_savers import joined
from treadle.checkpoint.direct import DirectSaver
from treadle.checkpoint.encryption import serializer
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.order import OrderedSaver
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Runs
from treadle.errors import ConfigError, EncryptionFailed
from treadle.model import Run

KEY = "a key of thirty-two bytes, or so"
OTHER = "another key of thirty-two bytes."
PLAIN = BaseCheckpointSaver.serde
MARK = "readable"
NUMBER = 735_281_946
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

Making = Callable[[str], BaseCheckpointSaver[Any]]


class State(TypedDict, total=False):
    text: str
    number: int
    nothing: None
    nested: dict[str, str]
    words: Annotated[list[str], DeltaChannel(joined)]


def asking(saver: BaseCheckpointSaver[Any]) -> Any:
    """Writes of every kind, then asks a question with the mark in it."""

    async def write(state: State) -> State:
        kept: State = {"text": f"{MARK} {state.get('text')}", "number": NUMBER, "nothing": None}
        return {**kept, "nested": {MARK: MARK}, "words": [MARK]}

    async def ask(state: State) -> State:
        return {"words": [interrupt({"question": MARK})]}

    graph = cast(Any, StateGraph(State)).add_node("write", write).add_node("ask", ask)
    return graph.add_edge(START, "write").add_edge("write", "ask").compile(checkpointer=saver)


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
def config(run: Run) -> RunnableConfig:
    return {"configurable": {"thread_id": str(run.thread_id)}}


@pytest.fixture(params=["of a run", "beside runs", "inside a transaction"])
def making(request: pytest.FixtureRequest, checkpoints: ConnectionPool, pool: Pool, run: Run) -> Making:
    """Makes a saver with a key, of each kind that writes."""

    def of_run(key: str) -> BaseCheckpointSaver[Any]:
        return FencedSaver(checkpoints, pool, run.run_id, run.attempt, serde=serializer(key, PLAIN))

    def beside_runs(key: str) -> BaseCheckpointSaver[Any]:
        return DirectSaver(checkpoints, pool, serializer(key, PLAIN))

    def in_transaction(key: str) -> BaseCheckpointSaver[Any]:
        return OrderedSaver(checkpoints, serde=serializer(key, PLAIN))

    made = {"of a run": of_run, "beside runs": beside_runs, "inside a transaction": in_transaction}
    return made[request.param]


async def kept(pool: Pool) -> str:
    """All that the tables hold, bytes as text."""
    rows = [
        row
        for table in TABLES
        for row in await pool.fetch(f"select to_json(t)::text, t::text from {table} t")
    ]
    blobs = await pool.fetch(
        "select encode(blob, 'escape') from checkpoint_blobs where blob is not null "
        "union all select encode(blob, 'escape') from checkpoint_writes"
    )
    return "\n".join(str(value) for row in (*rows, *blobs) for value in row)


async def test_nothing_of_a_state_is_readable(making: Making, pool: Pool, config: RunnableConfig) -> None:
    graph = asking(making(KEY))

    await graph.ainvoke({"text": f"input {MARK}"}, config)
    await graph.aupdate_state(config, {"text": f"update {MARK}"}, as_node="write")

    found = await kept(pool)
    assert MARK not in found
    assert str(NUMBER) not in found
    state = await graph.aget_state(config)
    assert state.values["text"] == f"update {MARK}"
    assert (state.values["number"], state.values["nothing"]) == (NUMBER, None)
    assert state.next == ("ask",)


async def test_without_a_key_a_state_is_readable(making: Making, pool: Pool, config: RunnableConfig) -> None:
    """As the test above looks for it."""
    await asking(making("")).ainvoke({"text": f"input {MARK}"}, config)

    found = await kept(pool)
    assert found.count(MARK) > 5
    assert str(NUMBER) in found


async def test_a_thread_from_before_there_was_a_key_goes_on_with_one(
    making: Making, pool: Pool, config: RunnableConfig
) -> None:
    await asking(making("")).ainvoke({"text": "older"}, config)
    graph = asking(making(KEY))

    await graph.ainvoke(Command(resume="an answer"), config)

    state = await graph.aget_state(config)
    assert state.values["text"] == f"{MARK} older"
    assert (state.values["number"], state.values["words"]) == (NUMBER, [MARK, "an answer"])
    newest = await pool.fetchval(
        "select checkpoint -> 'channel_values' from checkpoints order by checkpoint_id desc limit 1"
    )
    assert MARK not in str(newest)


async def test_a_wrong_key_is_told(making: Making, config: RunnableConfig) -> None:
    await asking(making(KEY)).ainvoke({"text": "input"}, config)

    with pytest.raises(EncryptionFailed, match="Set LANGGRAPH_AES_KEY to the key that it was written with"):
        await asking(making(OTHER)).aget_state(config)


@pytest.mark.parametrize("key", ["short", "x" * 31, "ä" * 17])
def test_a_key_of_another_length_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(
        ConfigError, match=r"LANGGRAPH_AES_KEY has \d+ bytes: it must have 16, 24 or 32"
    ) as refused:
        serializer(key, PLAIN)

    assert key not in str(refused.value)
