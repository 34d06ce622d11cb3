"""What is written after something was read is newer than it, by the ids that order checkpoints."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base import id as generator

from treadle.checkpoint import order
from treadle.checkpoint.order import OrderedSaver, stay_above
from treadle.checkpoint.pool import checkpoint_pool


@pytest.fixture
async def saver(dsn: str) -> AsyncGenerator[OrderedSaver]:
    async with checkpoint_pool(dsn, size=1, service="test") as pool:
        yield OrderedSaver(pool)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had been read or made yet."""
    monkeypatch.setattr(generator, order.NEWEST_MOMENT, None)


def made_ahead(ahead: timedelta) -> str:
    """An id from a host whose clock is so much ahead."""
    now = generator.uuid6()
    fields = cast(Any, generator)
    setattr(fields, order.NEWEST_MOMENT, now.time + ahead // timedelta(microseconds=1) * 10)
    made = str(generator.uuid6())
    setattr(fields, order.NEWEST_MOMENT, None)
    return made


async def kept(saver: OrderedSaver, config: RunnableConfig, checkpoint_id: str) -> RunnableConfig:
    return await saver.aput(config, {**empty_checkpoint(), "id": checkpoint_id}, {"step": 1}, {})


@pytest.fixture
def config() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}


async def test_after_the_newest_was_read(saver: OrderedSaver, config: RunnableConfig) -> None:
    ahead = made_ahead(timedelta(days=400))
    await kept(saver, config, ahead)
    assert str(generator.uuid6()) < ahead

    await saver.aget_tuple(config)

    assert str(generator.uuid6()) > ahead


async def test_after_an_old_one_was_read_to_branch_off_from_it(
    saver: OrderedSaver, config: RunnableConfig
) -> None:
    old = await kept(saver, config, str(generator.uuid6()))
    ahead = made_ahead(timedelta(seconds=30))
    await kept(saver, config, ahead)

    await saver.aget_tuple(old)

    assert str(generator.uuid6()) > ahead


@pytest.mark.parametrize(
    "odd",
    [None, "", "first", "f3b1c0de-7a65-4c1b-9d59-0c4cbb8e4b4e", "ffffffff-ffff-6fff-bfff-ffffffffffff"],
)
def test_an_id_that_no_clock_made_is_passed_over(odd: str | None) -> None:
    before = generator.uuid6().time

    stay_above(odd)

    assert before < generator.uuid6().time < before + timedelta(hours=1) // timedelta(microseconds=1) * 10
