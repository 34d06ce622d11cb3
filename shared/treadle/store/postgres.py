"""langgraph's Postgres store, mended where it would surprise.

- Expired items are gone for every reader, swept or not.
- `$gt` and its kin compare numbers as numbers; filters reach into nested values.
- A search by meaning pages on as far as there are items, and finds the nearest, whatever the namespace.
- Text that was replaced leads to an item no more.
- What cannot be stored is refused before it gets into a batch with what others store.
- Puts take their locks in one order, and reads wait for nobody's.
- What a run puts is refused, in the transaction of the put, once a newer attempt has the run.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Literal, Self, cast
from uuid import UUID

from langchain_core.embeddings import Embeddings
from langgraph.store.base import NOT_PROVIDED as STANDARD
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    NotProvided,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg import AsyncCursor, DatabaseError
from psycopg.rows import DictRow

from treadle.checkpoint.pool import ConnectionPool
from treadle.checkpoint.reaching import answering, psycopg_errors
from treadle.db.pool import COMMAND_TIMEOUT_SECS
from treadle.errors import Fenced
from treadle.graphs.storage import StoreTtl
from treadle.store import sql
from treadle.store.filters import conditions
from treadle.store.items import check_name, storable

Namespace = tuple[str, ...]


class PostgresStore(AsyncPostgresStore):
    """The store that graphs and clients share. Tables and format are the stock ones.

    Args:
        embeddings: turns text into vectors; None: items are not found by meaning.
        dims: the length of the vectors.
        fields: where the text is in a value.
    """

    # What gathers operations, of all stores: asyncio has no hold of a task that waits, and the garbage collector would destroy it together
    # with a store in a circle of references, before it is cancelled.
    _gathering: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(
        self,
        pool: ConnectionPool,
        *,
        embeddings: Embeddings | None = None,
        dims: int = 0,
        fields: Sequence[str] = ("$",),
        ttl: StoreTtl | None = None,
    ) -> None:
        ttl = ttl or StoreTtl()
        super().__init__(
            pool,
            index=None if embeddings is None else {"embed": embeddings, "dims": dims, "fields": list(fields)},
            ttl={
                "omit_expired": True,
                "refresh_on_read": ttl.refresh_on_read,
                "default_ttl": ttl.default_ttl,
            },
        )

        self._attempt: tuple[UUID, int] | None = None

    def fenced(self, run_id: UUID, attempt: int) -> Self:
        """The store for one attempt of a run. Its puts raise Fenced when the attempt may not write any more.

        It gathers operations of its own, for what is refused must not be in one batch with what is not.
        """
        own = copy.copy(self)
        own._attempt = run_id, attempt  # noqa: SLF001 - its own
        own._aqueue, own._task = asyncio.Queue(), None  # noqa: SLF001 - begun with the first operation
        return own

    def _ensure_task(self) -> None:
        super()._ensure_task()
        task = cast("asyncio.Task[None] | None", self._task)
        if task is not None and task not in self._gathering:
            self._gathering.add(task)
            task.add_done_callback(self._gathering.discard)

    def __del__(self) -> None:
        """As the stock store's, but from any thread: a node may have been the last to hold it."""
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def aput(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = STANDARD,
    ) -> None:
        check_name(namespace, key)
        await super().aput(namespace, key, storable(value), index, ttl=ttl)

    async def aget(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        check_name(namespace, key)
        return await super().aget(namespace, key, refresh_ttl=refresh_ttl)

    async def adelete(self, namespace: Namespace, key: str) -> None:
        check_name(namespace, key)
        await super().adelete(namespace, key)

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
        conditions(filter or {})  # raises here, and not in the batch
        return await super().asearch(
            namespace_prefix,
            query=query,
            filter=filter,
            limit=limit,
            offset=offset,
            refresh_ttl=refresh_ttl,
        )

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncGenerator[AsyncCursor[DictRow]]:
        with psycopg_errors("the store was used"), _refusals():
            async with super()._cursor(pipeline=pipeline) as cursor:
                with answering(cursor.connection, COMMAND_TIMEOUT_SECS):
                    yield cursor

    async def _batch_get_ops(
        self, get_ops: Sequence[tuple[int, GetOp]], results: list[Result], cur: AsyncCursor[DictRow]
    ) -> None:
        spaces: dict[Namespace, list[tuple[int, GetOp]]] = {}
        for index, op in get_ops:
            spaces.setdefault(op.namespace, []).append((index, op))
        for namespace, ops in spaces.items():
            keys, refresh = [op.key for _, op in ops], [op.refresh_ttl for _, op in ops]
            await cur.execute(sql.GET, (keys, refresh, ".".join(namespace)))
            found = {row["key"]: row for row in await cur.fetchall()}
            for index, op in ops:
                row = found.get(op.key)
                results[index] = None if row is None else Item(namespace=namespace, **row)

    def _prepare_batch_PUT_queries(  # noqa: N802 - the stock store's name
        self, put_ops: Sequence[tuple[int, PutOp]]
    ) -> Any:
        ordered = sorted(put_ops, key=lambda numbered: (numbered[1].namespace, numbered[1].key))
        queries, embedding = cast("tuple[list[Any], Any]", super()._prepare_batch_PUT_queries(ordered))
        if self.index_config:
            puts = [(".".join(op.namespace), op.key) for _, op in put_ops if op.value is not None]
            queries.append((sql.FORGET_VECTORS, [[prefix for prefix, _ in puts], [key for _, key in puts]]))
        if self._attempt is not None:
            queries.insert(0, (sql.FENCE, self._attempt))
        return queries, embedding

    async def _execute_batch(
        self, grouped_ops: dict[Any, Any], results: list[Result], conn: Any = None
    ) -> None:
        """As the stock one, but vectors are made first: who is slow to embed holds no connection, and is not Postgres."""
        searches: Sequence[tuple[int, SearchOp]] = grouped_ops.get(SearchOp, ())
        nears = [await self._near(op) for _, op in searches]
        puts = await self._puts(grouped_ops.get(PutOp, ()))
        async with self._cursor(pipeline=True) as cur:
            await self._batch_get_ops(grouped_ops.get(GetOp, ()), results, cur)
            for (index, op), near in zip(searches, nears, strict=True):
                await cur.execute(*_search(op, near))
                results[index] = [
                    SearchItem(namespace=tuple(row.pop("prefix").split(".")), **row)
                    for row in await cur.fetchall()
                ]
            if namespaces := grouped_ops.get(ListNamespacesOp):
                await self._batch_list_namespaces_ops(namespaces, results, cur)
            for query, parameters in puts:
                await cur.execute(query, parameters)

    async def _near(self, op: SearchOp) -> list[float] | None:
        """The vector that a search is for."""
        return await self.embeddings.aembed_query(op.query) if op.query and self.embeddings else None

    async def _puts(self, put_ops: Sequence[tuple[int, PutOp]]) -> list[Any]:
        """The statements of puts, with their parameters."""
        if not put_ops:
            return []
        queries, embedding = self._prepare_batch_PUT_queries(put_ops)
        if embedding and self.embeddings is not None:
            query, texts = embedding
            vectors = await self.embeddings.aembed_documents([text for *_, text in texts])
            rows = ((*place, vector) for (*place, _), vector in zip(texts, vectors, strict=True))
            queries.append((query, [parameter for row in rows for parameter in row]))
        return queries


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except DatabaseError as error:
        if error.sqlstate != sql.FENCED:
            raise
        raise Fenced(f"What it put into the store was refused: {error.diag.message_primary}.") from error


def _search(op: SearchOp, near: list[float] | None) -> Any:
    """The statement of a search, and its parameters in the order in which they stand in it."""
    wanted = [_below(op.namespace_prefix), *conditions(op.filter or {})]
    statement = sql.SEARCH_AND_REFRESH if op.refresh_ttl else sql.SEARCH
    score = sql.NO_SCORE if near is None else sql.NEARNESS
    parameters = [parameter for _, each in wanted for parameter in each]
    return (
        statement.format(score=score, where=" and ".join(condition for condition, _ in wanted)),
        [*([] if near is None else [near]), *parameters, op.limit, op.offset],
    )


def _below(prefix: Namespace) -> tuple[str, list[Any]]:
    """A namespace and all below it. `like` is for its index; labels may have its wildcards in them."""
    if not prefix:
        return "true", []
    path = ".".join(prefix)
    escaped = path.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return "(store.prefix = %s or store.prefix like %s)", [path, f"{escaped}.%"]
