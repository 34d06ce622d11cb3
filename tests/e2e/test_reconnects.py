"""A client whose connection breaks while it waits comes back by itself, to the `Location` that it was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.e2e.cutter import Cutter
from tests.e2e.steps import Values, join, new_thread
from tests.stack import Service

# The head of an answer passes; of a result that is longer, only a part does.
BREAKS_AFTER = 1000
TEXT = "a" * 4 * BREAKS_AFTER


async def waited(client: LangGraphClient, thread: str) -> Values:
    return cast(Values, await cast(Any, client.runs).wait(thread, "steps", input={"text": TEXT}))


async def waited_without_a_thread(client: LangGraphClient, thread: str) -> Values:
    return cast(Values, await cast(Any, client.runs).wait(None, "steps", input={"text": TEXT}))


@pytest.mark.filterwarnings("ignore:Request failed, attempting reconnect")
@pytest.mark.parametrize("ask", [waited, waited_without_a_thread])
async def test_who_waits_for_a_result_gets_it_though_the_answer_was_cut_off(
    api: Service, client: LangGraphClient, ask: Callable[[LangGraphClient, str], Awaitable[Values]]
) -> None:
    thread = await new_thread(client)
    cutter = Cutter([api.port], [BREAKS_AFTER], passing_location=True)
    async with cutter.listening():
        values = await ask(get_client(url=cutter.url), thread)

    assert cutter.cuts == 1
    assert values["text"] == TEXT.upper() + "!"
    assert len(await client.runs.list(thread)) == (1 if ask is waited else 0)


@pytest.mark.filterwarnings("ignore:Request failed, attempting reconnect")
async def test_who_joins_a_run_gets_its_result_though_the_answer_was_cut_off(
    api: Service, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "steps", input={"text": TEXT})
    cutter = Cutter([api.port], [BREAKS_AFTER], passing_location=True)
    async with cutter.listening():
        values = await join(get_client(url=cutter.url), thread, run)

    assert cutter.cuts == 1
    assert values["text"] == TEXT.upper() + "!"
