"""Threads, found and counted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk


class Search:
    """Three threads that are found by a mark of their own: one has run, one asks, one is empty."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.mark = str(uuid4())
        self.ids: list[str] = []

    async def fill(self) -> None:
        for number in range(3):
            metadata = {"mark": self.mark, "n": number, "deep": {"list": [1, 2], "n": number}}
            made = await self._talk.post("/threads", {"metadata": metadata}, kept=False)
            self.ids.append(made["thread_id"])
        for thread, graph in zip(self.ids, ("steps", "approval"), strict=False):
            body = {"assistant_id": graph, "input": {"text": "a"}}
            await self._talk.post(f"/threads/{thread}/runs/wait", body, kept=False)

    async def find(self, *, names: str | None = None, **wanted: Any) -> Any:
        return await self._talk.post(
            "/threads/search", {"metadata": {"mark": self.mark}, **wanted}, names=names
        )

    async def count(self, *, names: str | None = None, **wanted: Any) -> Any:
        return await self._talk.post(
            "/threads/count", {"metadata": {"mark": self.mark}, **wanted}, names=names
        )


async def _filled(talk: Talk) -> Search:
    search = Search(talk)
    await search.fill()
    return search


async def whole(talk: Talk) -> None:
    await (await _filled(talk)).find()


async def paged(talk: Talk) -> None:
    search = await _filled(talk)
    for limit, offset in ((1, 0), (1, 1), (2, 1), (2, 2), (1000, 0), (10, 50)):
        await search.find(limit=limit, offset=offset, select=["thread_id"])


async def filtered(talk: Talk) -> None:
    search = await _filled(talk)
    for status in ("idle", "interrupted", "busy", "error"):
        await search.find(status=status, select=["thread_id"])
    for deep in ({"n": 1}, {}, {"n": 3}, {"list": [1, 2]}, {"list": [1]}, {"list": [3]}):
        await search.find(metadata={"mark": search.mark, "deep": deep}, select=["metadata"])
    await search.find(metadata={"mark": search.mark, "none": None}, select=["metadata"])
    await search.find(ids=search.ids[:2], select=["thread_id"])
    await search.find(ids=[str(uuid4())], select=["thread_id"])
    await search.find(ids=[], select=["thread_id"])


async def sorted_by(talk: Talk) -> None:
    search = await _filled(talk)
    for field in ("thread_id", "created_at", "updated_at", "state_updated_at"):
        for order in ("asc", "desc"):
            await search.find(sort_by=field, sort_order=order, select=["thread_id"])
        await search.find(sort_by=field, select=["thread_id"])
    await search.find(sort_order="desc", select=["thread_id"])
    await search.find(sort_order="asc", select=["thread_id"])


async def selected(talk: Talk) -> None:
    search = await _filled(talk)
    fields = ("thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status")
    for field in (*fields, "values", "interrupts"):
        await search.find(ids=search.ids[:2], select=[field])
    await search.find(ids=search.ids[:2], select=["thread_id", "status", "values"])
    await search.find(ids=search.ids[:1], select=[])


async def extracted(talk: Talk) -> None:
    search = await _filled(talk)

    async def extract(names: str | None = None, /, **paths: Any) -> None:
        await search.find(ids=search.ids[:1], select=["thread_id"], extract=paths, names=names)

    await extract(text="values.text", first="values.steps[0]", last="values.steps[-1]")
    await extract(far="values.steps[9]", no="values.nothing", word="values.steps[x]", each="values.steps[*]")
    await extract(deep="metadata.deep.list[1]", part="metadata.deep", whole="values", asks="interrupts")
    await extract(dot="values.", dots="values..text", conf="config.configurable")
    await extract()
    await search.find(ids=search.ids[:1], extract={"text": "values.text"})
    await search.find(ids=search.ids[2:], extract={"text": "values.text"}, select=["thread_id"])
    for path in ("status", "thread_id", "error", ""):
        await extract("extract", a=path)
    await extract("extract", a=5)
    await extract("extract", **{f"a{number}": "values" for number in range(11)})
    for alias in ("", "a b", "a-b", "config"):
        await extract("extract", **{alias: "values"})


async def counted(talk: Talk) -> None:
    search = await _filled(talk)
    await search.count()
    await search.count(status="idle")
    await search.count(status="error")
    await search.count(metadata={"mark": search.mark, "n": 2})
    await search.count(metadata={"mark": str(uuid4())})
    await search.count(ids=search.ids[:1])


async def stateless_while_they_run(talk: Talk) -> None:
    run = await talk.post("/runs", {"assistant_id": "slow", "input": {"delay": 1}})
    wanted = {"ids": [run["thread_id"]], "select": ["thread_id", "status"]}
    await talk.post("/threads/search", wanted)
    await talk.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join", kept=False)
    await talk.post("/threads/search", wanted)


async def refused(talk: Talk) -> None:
    search = Search(talk)
    for field, value in (
        ("status", "asleep"),
        ("sort_by", "metadata"),
        ("sort_by", "CREATED_AT"),
        ("sort_order", "up"),
        ("select", ["nothing"]),
        ("select", ["error"]),
        ("limit", 0),
        ("limit", 1001),
        ("limit", "x"),
        ("offset", -1),
        ("metadata", "x"),
        ("values", [1]),
    ):
        await search.find(**{field: value}, names=field)
    await search.find(ids=["one"], names="thread ID")
    await search.count(status="asleep", names="status")
    await search.count(metadata=5, names="metadata")
    await talk.call("POST", "/threads/search", "nonsense", names="JSON")
    await talk.call("POST", "/threads/count", "nonsense", names="JSON")
