"""Rows of langgraph's checkpoint tables, as a run writes them, and the columns that statements take of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Blob(NamedTuple):
    """One version of a channel's value."""

    thread_id: str
    ns: str
    channel: str
    version: str
    kind: str
    value: bytes | None


class NewCheckpoint(NamedTuple):
    """A checkpoint, its JSON ready."""

    thread_id: str
    ns: str
    checkpoint_id: str
    parent_id: str | None
    checkpoint: str
    metadata: str


class Write(NamedTuple):
    """One pending write of a task."""

    thread_id: str
    ns: str
    checkpoint_id: str
    task_id: str
    task_path: str
    idx: int
    channel: str
    kind: str
    value: bytes


class Put(NamedTuple):
    """What can be written together with others of its kind."""

    thread_id: str
    checkpoints: Sequence[NewCheckpoint] = ()
    blobs: Sequence[Blob] = ()
    writes: Sequence[Write] = ()


COLUMNS = len(Blob._fields) + len(NewCheckpoint._fields) + len(Write._fields)


def numbered(first: int, count: int) -> str:
    """The parameters of a statement from one number on: `$3, $4, $5`."""
    return ", ".join(f"${number}" for number in range(first, first + count))


def columns(kind: type[NamedTuple], rows: Iterable[tuple[Any, ...]]) -> list[Sequence[Any]]:
    """The rows as one sequence for each of their fields."""
    return list(zip(*rows, strict=True)) or [()] * len(kind._fields)


def columns_of(puts: Sequence[Put]) -> list[Sequence[Any]]:
    """What `treadle.put_checkpoints` takes besides the run: the columns of all blobs, checkpoints and writes."""
    # A statement may touch a row once.
    checkpoints = {new[:3]: new for put in puts for new in put.checkpoints}
    blobs = [blob for put in puts for blob in put.blobs]
    writes = [write for put in puts for write in put.writes]
    return [*columns(Blob, blobs), *columns(NewCheckpoint, checkpoints.values()), *columns(Write, writes)]
