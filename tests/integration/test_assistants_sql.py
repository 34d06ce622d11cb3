"""Assistants in Postgres: versions, and searches that have an index."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from treadle.db.assistants import MATCHES, SEARCH, AssistantFields, AssistantFilter, Assistants
from treadle.db.pool import Pool
from treadle.db.scope import DEFAULT, EVERYWHERE
from treadle.model import DEFAULT_TENANT, default_assistant_id

MANY = """
insert into treadle.assistant (assistant_id, graph_id, name, metadata)
select gen_random_uuid(), 'agent', 'a' || n, jsonb_build_object('tenant', n % 5000) from generate_series(1, 20000) n
"""


async def _explained(pool: Pool, wanted: AssistantFilter) -> str:
    statement = SEARCH.format(matches=MATCHES, column="created_at", order="desc")
    return "\n".join(
        row[0] for row in await pool.fetch(f"explain {statement}", *wanted.parameters, *DEFAULT, 10, 0)
    )


async def test_searching_by_metadata_goes_by_an_index(pool: Pool) -> None:
    await pool.execute(MANY)
    await pool.execute("analyze treadle.assistant")
    assert "assistant_metadata" in await _explained(pool, AssistantFilter(metadata={"tenant": 7}))
    assert "assistant_newest" in await _explained(pool, AssistantFilter())


async def test_changes_at_once_make_a_version_each(pool: Pool) -> None:
    assistants, one = Assistants(pool), uuid4()
    await assistants.create(DEFAULT_TENANT, one, AssistantFields(graph_id="agent"))
    await asyncio.gather(
        *(assistants.patch(EVERYWHERE, one, AssistantFields(metadata={str(n): n})) for n in range(8))
    )
    versions = await assistants.versions(EVERYWHERE, one, None, 100, 0)
    assert [each.version for each in versions] == list(range(9, 0, -1))
    assert len(versions[0].metadata) == 8


async def test_the_description_of_a_graph_follows_its_file_until_somebody_changes_the_assistant(
    pool: Pool,
) -> None:
    assistants, one = Assistants(pool), default_assistant_id("agent")

    async def described(by_file: str) -> str | None:
        await assistants.register({"agent": by_file})
        return await _description(assistants, one)

    assert await described("first") == "first"
    assert await described("second") == "second"
    assert [each.description for each in await assistants.versions(EVERYWHERE, one, None, 10, 0)] == [
        "second"
    ]
    await assistants.patch(EVERYWHERE, one, AssistantFields(description="mine"))
    assert await described("third") == "mine"


async def _description(assistants: Assistants, assistant_id: UUID) -> str | None:
    assistant = await assistants.get(EVERYWHERE, assistant_id)
    assert assistant is not None
    return assistant.description
