"""Long-term memory: items put, got, found and removed; their namespaces."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk

ITEMS = "/store/items"
SEARCH = f"{ITEMS}/search"
NAMESPACES = "/store/namespaces"
NO_NAMESPACES: tuple[Any, ...] = ([], ["langgraph"], ["a.b"], [""], [1], "abc")


def _mine() -> str:
    """A root of the scenario's own: the recordings know ids."""
    return str(uuid4())


async def _put(talk: Talk, namespace: list[str], key: str, value: Any, **more: Any) -> None:
    await talk.call("PUT", ITEMS, {"namespace": namespace, "key": key, "value": value, **more})


async def put_got_and_removed(talk: Talk) -> None:
    mine = _mine()
    await _put(talk, [mine, "a"], "k", {"x": 1, "deep": {"list": [1, None, "é"]}})
    await talk.get(f"{ITEMS}?namespace={mine}.a&key=k")
    await _put(talk, [mine, "a"], "k", {"x": 2})
    await talk.get(f"{ITEMS}?namespace={mine}.a&key=k&refresh_ttl=true")
    await talk.get(f"{ITEMS}?namespace={mine}&key=k")
    await talk.call("DELETE", ITEMS, {"namespace": [mine, "a"], "key": "k"})
    await talk.get(f"{ITEMS}?namespace={mine}.a&key=k")
    await talk.call("DELETE", ITEMS, {"namespace": [mine, "a"], "key": "k"})
    await talk.call("DELETE", ITEMS, {"key": "k"})


async def options_of_put(talk: Talk) -> None:
    mine = _mine()
    await _put(talk, [mine], "a", {}, index=None, ttl=None)
    await _put(talk, [mine], "b", {"text": "t"}, index=False, ttl=5)
    await _put(talk, [mine], "c", {"text": "t"}, index=["text"], ttl=0.5)
    await _put(talk, [mine], "", {"empty": "key"}, index=[])
    await talk.get(f"{ITEMS}?namespace={mine}&key=")
    await talk.get(f"{ITEMS}?namespace={mine}&key=b&refresh_ttl=false")


async def refused_puts(talk: Talk) -> None:
    mine = _mine()
    await talk.call("PUT", ITEMS, {"key": "k", "value": {}}, names="namespace")
    await talk.call("PUT", ITEMS, {"namespace": [mine], "value": {}}, names="key")
    await talk.call("PUT", ITEMS, {"namespace": [mine], "key": "k"}, names="value")
    good: dict[str, Any] = {"namespace": [mine], "key": "k", "value": {}}
    for namespace in NO_NAMESPACES:
        await talk.call("PUT", ITEMS, {**good, "namespace": namespace}, names="namespace")
    for field, wrong in (
        ("key", 1), ("value", None), ("value", [1]), ("value", "text"), ("index", True), ("index", "text"),
        ("ttl", "soon"),
    ):  # fmt: skip
        await talk.call("PUT", ITEMS, {**good, field: wrong}, names=field)
    await talk.call("PUT", ITEMS, "nope")
    await talk.call("PUT", ITEMS, "")
    await talk.post(NAMESPACES, {"prefix": [mine]})


async def time_that_is_over_at_once(talk: Talk) -> None:
    mine = _mine()
    await _put(talk, [mine], "a", {}, ttl=0)
    await _put(talk, [mine], "b", {}, ttl=-1)


async def refused_gets_and_removals(talk: Talk) -> None:
    await talk.get(f"{ITEMS}?namespace=a", names="key")
    await talk.get(f"{ITEMS}?key=k", names="namespace")
    await talk.get(f"{ITEMS}?namespace=a..b&key=k", names="namespace")
    await talk.get(f"{ITEMS}?namespace=a&key=k&refresh_ttl=perhaps")
    await talk.call("DELETE", ITEMS, {"namespace": ["a"]}, names="key")
    await talk.call("DELETE", ITEMS, {"namespace": ["a.b"], "key": "k"}, names="namespace")
    await talk.call("DELETE", ITEMS, "")
    await talk.post(ITEMS)
    await talk.get(SEARCH)


OF_EACH_KIND: dict[str, dict[str, Any]] = {
    "a": {"n": 2, "t": "x", "nested": {"x": 1, "y": {"z": True}}},
    "b": {"n": 10, "t": "y", "nested": {"x": 2}},
    "c": {"n": 9, "t": None, "nested": {}, "list": [1, 2]},
}
FIND_AT_MOST_ONE: tuple[dict[str, Any], ...] = (
    {"n": 2}, {"n": {"$eq": 2}}, {"n": 2.0}, {"t": None}, {"t": {"$eq": None}}, {"nested": {"x": 1}},
    {"nested": {"y": {"z": True}}}, {"nested": {"$eq": {"x": 2}}}, {"nested": {"x": {"$gte": 2}}},
    {"n": {"$gt": 2, "$lt": 10}}, {"n": {"$gt": 9}}, {"n": {"$lt": 9}}, {"n": {"$lte": 2}}, {"n": 2, "t": "y"},
    {"missing": 1}, {"list": [2]}, {"$or": [{"n": 2}]}, {"n": {}},
)  # fmt: skip
FIND_SEVERAL: tuple[dict[str, Any], ...] = (
    {}, {"n": {"$ne": 2}}, {"missing": {"$ne": 1}}, {"n": {"$gte": 9}}, {"missing": None},
)  # fmt: skip
OF_TEXT: tuple[dict[str, Any], ...] = ({"t": {"$gt": "x"}}, {"n": {"$gt": "abc"}}, {"t": {"$gt": 5}})


async def _filled(talk: Talk) -> list[str]:
    mine = _mine()
    for key, value in OF_EACH_KIND.items():
        await _put(talk, [mine], key, value)
    return [mine]


async def filters(talk: Talk) -> None:
    mine = await _filled(talk)
    for wanted in FIND_AT_MOST_ONE:
        await talk.post(SEARCH, {"namespace_prefix": mine, "filter": wanted})


async def filters_that_leave_several(talk: Talk) -> None:
    mine = await _filled(talk)
    for wanted in FIND_SEVERAL:
        await talk.post(SEARCH, {"namespace_prefix": mine, "filter": wanted})


async def filters_that_compare_text_or_nothing(talk: Talk) -> None:
    mine = await _filled(talk)
    await _put(talk, mine, "d", {})
    for wanted in OF_TEXT:
        await talk.post(SEARCH, {"namespace_prefix": mine, "filter": wanted})


async def searches(talk: Talk) -> None:
    mine = await _filled(talk)
    await _put(talk, [*mine, "below"], "e", {"n": 2})
    await _put(talk, [mine[0] + "beside"], "f", {"n": 2})
    only = {"namespace_prefix": mine, "filter": {"n": 9}}
    await talk.post(SEARCH, {**only, "limit": 1, "offset": 0, "query": "nine", "refresh_ttl": False})
    await talk.post(SEARCH, {**only, "query": None, "refresh_ttl": None})
    await talk.post(SEARCH, {**only, "offset": 1})
    await talk.post(SEARCH, {"namespace_prefix": [*mine, "below"]})
    await talk.post(SEARCH, {"namespace_prefix": [*mine, "none"]})
    await talk.post(SEARCH, {"namespace_prefix": [*mine, "*"]})
    await talk.post(SEARCH, {"namespace_prefix": mine})


async def refused_searches(talk: Talk) -> None:
    mine = await _filled(talk)
    for field, wrong in (
        ("namespace_prefix", ["a.b"]), ("namespace_prefix", [""]), ("namespace_prefix", "abc"), ("filter", [1]),
        ("filter", {"n": {"$bogus": 1}}), ("query", 5), ("refresh_ttl", "perhaps"), ("limit", "many"),
        ("limit", None), ("limit", 0), ("limit", -1), ("offset", -1),
    ):  # fmt: skip
        await talk.post(SEARCH, {"namespace_prefix": mine, field: wrong}, names=field)
    await talk.call("POST", SEARCH, "")


async def namespaces(talk: Talk) -> None:
    mine = _mine()
    for place in (["a"], ["a", "x"], ["b", "x"], ["b", "y"]):
        await _put(talk, [mine, *place], "k", {})
    for search in (
        {}, {"max_depth": 2}, {"max_depth": 1}, {"suffix": ["x"]}, {"suffix": ["*", "x"]}, {"limit": 1},
        {"limit": 2, "offset": 1}, {"offset": 9},
    ):  # fmt: skip
        await talk.post(NAMESPACES, {"prefix": [mine], **search})
    await talk.post(NAMESPACES, {"prefix": [mine, "*", "x"]})
    await talk.post(NAMESPACES, {"suffix": [mine]})


async def refused_namespaces(talk: Talk) -> None:
    mine = _mine()
    await _put(talk, [mine], "k", {})
    for field, wrong in (
        ("prefix", ["a.b"]), ("prefix", [""]), ("prefix", "abc"), ("suffix", ["a.b"]), ("max_depth", "deep"),
        ("max_depth", 0), ("limit", 0), ("limit", -1), ("offset", -1), ("offset", "far"),
    ):  # fmt: skip
        await talk.post(NAMESPACES, {"prefix": [mine], field: wrong}, names=field)
    await talk.call("POST", NAMESPACES, "")
