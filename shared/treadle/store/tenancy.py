"""A store as one tenant sees it: its items lie below a namespace of its own, and nobody else's are there.

The default tenant's lie where they always did, beside those namespaces, which it does not see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from langgraph.store.base import NOT_PROVIDED as STANDARD
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from treadle.escaping import token_of
from treadle.model import DEFAULT_TENANT

Namespace = tuple[str, ...]
# The first label of what belongs to the other tenants; the second one names them.
LABEL = "treadle-tenant"
# So many are looked at together where others' are passed over.
PAGE = 1000

T = TypeVar("T", Item, SearchItem)


def in_tenant(store: BaseStore, tenant: str) -> BaseStore:
    """A store as a tenant sees it."""
    return TenantStore(store, () if tenant == DEFAULT_TENANT else (LABEL, token_of(tenant)))


class TenantStore(BaseStore):
    """Puts everything below a namespace, and takes it away from what is found.

    Args:
        below: the namespace; empty: the default tenant's, which is all that is not another's.
    """

    def __init__(self, store: BaseStore, below: Namespace) -> None:
        self._store = store
        self._below = below
        self.supports_ttl = store.supports_ttl
        self.ttl_config = store.ttl_config

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        wanted = list(ops)
        results = self._store.batch([self._inside(op) for op in wanted])
        return [self._outside(op, result) for op, result in zip(wanted, results, strict=True)]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        wanted = list(ops)
        results = await self._store.abatch([self._inside(op) for op in wanted])
        return [self._outside(op, result) for op, result in zip(wanted, results, strict=True)]

    async def aput(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = STANDARD,
    ) -> None:
        await self._store.aput(self._named(namespace), key, value, index, ttl=ttl)

    async def aget(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        item = await self._store.aget(self._named(namespace), key, refresh_ttl=refresh_ttl)
        return None if item is None else self._seen(item)

    async def adelete(self, namespace: Namespace, key: str) -> None:
        await self._store.adelete(self._named(namespace), key)

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        async def page(size: int, start: int) -> Sequence[SearchItem]:
            return await self._store.asearch(
                self._named(namespace_prefix),
                query=query,
                filter=filter,
                limit=size,
                offset=start,
                refresh_ttl=refresh_ttl,
            )

        if self._below or namespace_prefix:
            return [self._seen(item) for item in await page(limit, offset)]
        return await _passing_over(page, lambda item: _others(item.namespace), limit, offset)

    async def alist_namespaces(
        self,
        *,
        prefix: Namespace | None = None,
        suffix: Namespace | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        async def page(size: int, start: int) -> Sequence[Namespace]:
            return await self._store.alist_namespaces(
                prefix=self._named(prefix or ()) or None,
                suffix=suffix,
                max_depth=None if max_depth is None else max_depth + len(self._below),
                limit=size,
                offset=start,
            )

        if self._below:
            return [namespace[len(self._below) :] for namespace in await page(limit, offset)]
        return await _passing_over(page, _others, limit, offset)

    def _named(self, namespace: Namespace) -> Namespace:
        """Raises InvalidNamespaceError: it is other tenants'."""
        if not self._below and _others(namespace):
            raise InvalidNamespaceError(
                f"Namespace label {LABEL!r} is the first one of what belongs to tenants. Choose another."
            )
        return (*self._below, *namespace)

    def _seen(self, item: T) -> T:
        item.namespace = tuple(item.namespace)[len(self._below) :]
        return item

    def _inside(self, op: Op) -> Op:
        match op:
            case GetOp() | PutOp():
                return op._replace(namespace=self._named(op.namespace))
            case SearchOp():
                return op._replace(namespace_prefix=self._named(op.namespace_prefix))
            case ListNamespacesOp():
                return op._replace(
                    match_conditions=tuple(self._conditions(op)),
                    max_depth=None if op.max_depth is None else op.max_depth + len(self._below),
                )

    def _conditions(self, op: ListNamespacesOp) -> Iterator[MatchCondition]:
        if self._below:
            yield MatchCondition("prefix", self._below)
        for condition in op.match_conditions or ():
            path = cast("Namespace", tuple(condition.path))
            below = condition.match_type == "prefix"
            yield MatchCondition(condition.match_type, (*self._below, *path) if below else path)

    def _outside(self, op: Op, result: Result) -> Result:
        """Of many operations at once, what is others' is left out of a page, which is so much shorter."""
        match op:
            case GetOp():
                return None if result is None else self._seen(cast(Item, result))
            case SearchOp():
                found = cast("list[SearchItem]", result)
                return [self._seen(item) for item in found if self._below or not _others(item.namespace)]
            case ListNamespacesOp():
                listed = cast("list[Namespace]", result)
                return [each[len(self._below) :] for each in listed if self._below or not _others(each)]
            case PutOp():
                return None


def _others(namespace: Sequence[str]) -> bool:
    return bool(namespace) and namespace[0] == LABEL


Found = TypeVar("Found")


async def _passing_over(
    page: Callable[[int, int], Awaitable[Sequence[Found]]],
    unseen: Callable[[Found], bool],
    limit: int,
    offset: int,
) -> list[Found]:
    """A part of what is found, as if others' were not there."""
    seen: list[Found] = []
    start = 0
    while len(seen) < offset + limit:
        size = max(limit + offset - len(seen), min(PAGE, limit + offset))
        found = await page(size, start)
        seen += [each for each in found if not unseen(each)]
        if len(found) < size:
            break
        start += size
    return seen[offset : offset + limit]
