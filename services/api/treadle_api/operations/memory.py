"""The store over HTTP: the same items that graphs see."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from langgraph.store.base import NOT_PROVIDED as STANDARD
from langgraph.store.base import BaseStore, Item, SearchItem

from treadle.errors import InvalidRequest
from treadle.store.items import MOST_NAME_BYTES
from treadle.store.tenancy import in_tenant
from treadle_api.bodies.store import ItemName, ItemSearch, NamespaceSearch, NewItem

# langgraph keeps it for itself.
RESERVED = "langgraph"


class Memory:
    """Puts, gets, removes and finds items."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    def of(self, tenant: str) -> Memory:
        """The items of a tenant."""
        return Memory(in_tenant(self._store, tenant))

    async def put(self, item: NewItem) -> None:
        """Keep an item in place of the one that has its name.

        Raises:
            InvalidRequest: the namespace is no good, or the store does not take the value or a time to live.
        """
        namespace = _labels("namespace", item.namespace)
        if not namespace or namespace[0] == RESERVED:
            raise InvalidRequest(
                f"namespace: it needs at least one label, the first of them not {RESERVED!r}; sent was {item.namespace!r}."
            )
        ttl: Any = STANDARD if item.ttl is None else item.ttl
        with _refused("ttl"):
            await self._store.aput(namespace, item.key, item.value, item.index, ttl=ttl)

    async def get(self, namespace: Sequence[str], key: str, refresh_ttl: bool | None) -> Item | None:
        """The item of a name; None when there is none.

        Raises:
            InvalidRequest: the namespace is no good.
        """
        labels = _labels("namespace", namespace)
        with _refused("key"):
            return await self._store.aget(labels, key, refresh_ttl=refresh_ttl)

    async def delete(self, name: ItemName) -> None:
        """Remove an item, if there is one.

        Raises:
            InvalidRequest: the namespace is no good.
        """
        labels = _labels("namespace", name.namespace)
        with _refused("key"):
            await self._store.adelete(labels, name.key)

    async def search(self, search: ItemSearch) -> list[SearchItem]:
        """The items below a namespace that pass a filter: the nearest to a query first, or the last changed.

        Raises:
            InvalidRequest: the namespace or the filter is no good.
            EmbeddingFailed: the query could not be made a vector.
        """
        prefix = _labels("namespace_prefix", search.namespace_prefix or ())
        with _refused("filter"):
            return await self._store.asearch(
                prefix,
                query=search.query,
                filter=search.filter,
                limit=search.limit,
                offset=search.offset,
                refresh_ttl=search.refresh_ttl,
            )

    async def namespaces(self, search: NamespaceSearch) -> list[tuple[str, ...]]:
        """The namespaces that have items, in order; `*` in a prefix or suffix stands for any one label.

        Raises:
            InvalidRequest: the prefix or suffix is no good.
        """
        prefix, suffix = _labels("prefix", search.prefix or ()), _labels("suffix", search.suffix or ())
        with _refused("prefix"):
            return await self._store.alist_namespaces(
                prefix=prefix or None,
                suffix=suffix or None,
                max_depth=search.max_depth,
                limit=search.limit,
                offset=search.offset,
            )


def _labels(field: str, labels: Sequence[str]) -> tuple[str, ...]:
    for label in labels:
        if not label or "." in label or "\0" in label:
            raise InvalidRequest(
                f"{field}: Namespace label {label!r} must be a non-empty string without periods and NUL."
            )
    if (size := len(".".join(labels).encode("utf-8", "replace"))) > MOST_NAME_BYTES:
        raise InvalidRequest(
            f"{field}: its labels take {size} bytes; no namespace takes more than {MOST_NAME_BYTES}. Put what is long into the value."
        )
    return tuple(labels)


@contextmanager
def _refused(field: str) -> Generator[None]:
    """A store of the user's own says in its own way what it cannot do.

    Raises:
        InvalidRequest: names the field that it is most likely about.
    """
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise InvalidRequest(f"{field}: {error or type(error).__name__}") from error
