"""The checkpoints of a thread with all that belongs to them, as values that can be compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID


class Checkpoint(NamedTuple):
    namespace: str
    checkpoint_id: str
    parent_id: str | None
    run_id: UUID | None
    # (channel, version) of all values in it, here or among the blobs.
    versions: frozenset[tuple[str, str]]
    digest: str


class Write(NamedTuple):
    """A pending write of a task on a checkpoint."""

    namespace: str
    checkpoint_id: str
    task_id: str
    place: int
    run_id: UUID | None
    digest: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """One row for each."""
        return self[:4]


class Blob(NamedTuple):
    namespace: str
    channel: str
    version: str
    digest: str


@dataclass(frozen=True)
class Kept:
    """All of it at one moment."""

    checkpoints: frozenset[Checkpoint] = frozenset()
    writes: frozenset[Write] = frozenset()
    blobs: frozenset[Blob] = frozenset()

    def without(self, run_id: UUID) -> Kept:
        """Without a run's checkpoints, all writes on them, and its writes on others. Values stay."""
        checkpoints = frozenset(each for each in self.checkpoints if each.run_id != run_id)
        gone = {each[:2] for each in self.checkpoints - checkpoints}
        writes = frozenset(each for each in self.writes if each.run_id != run_id and each[:2] not in gone)
        return replace(self, checkpoints=checkpoints, writes=writes)

    def wrote_over(self, later: Kept, by: UUID) -> frozenset[Write]:
        """Writes of other runs that are not there later, since a run has written over them."""
        return frozenset(each for each in self.writes - later.writes if each.run_id != by)

    def restored(self, writes: Collection[Write]) -> Kept:
        """With writes again that were written over, where their checkpoint is and nobody else has written."""
        there = {each[:2] for each in self.checkpoints}
        taken = {each.key for each in self.writes}
        back = {each for each in writes if each[:2] in there and each.key not in taken}
        return replace(self, writes=self.writes | back)

    def without_strays(self, run_id: UUID) -> Kept:
        """Without writes of a run on checkpoints that are not there."""
        there = {each[:2] for each in self.checkpoints}
        strays = {each for each in self.writes if each.run_id == run_id and each[:2] not in there}
        return replace(self, writes=self.writes - strays)

    def tidied(self) -> Kept:
        """Without values that no checkpoint has."""
        used = {(c.namespace, *version) for c in self.checkpoints for version in c.versions}
        return replace(self, blobs=frozenset(blob for blob in self.blobs if blob[:3] in used))

    def runs(self) -> frozenset[UUID | None]:
        """Whose it is."""
        return frozenset(each.run_id for each in (*self.checkpoints, *self.writes))


def kept(found: dict[str, Any]) -> Kept:
    """Read what `facts.FACTS` has found."""
    return Kept(
        frozenset(
            Checkpoint(
                each["ns"],
                each["id"],
                each["parent"],
                _id(each["run"]),
                frozenset(each["versions"].items()),
                each["digest"],
            )
            for each in found["checkpoints"]
        ),
        frozenset(
            Write(each["ns"], each["id"], each["task"], each["idx"], _id(each["run"]), each["digest"])
            for each in found["writes"]
        ),
        frozenset(
            Blob(each["ns"], each["channel"], each["version"], each["digest"]) for each in found["blobs"]
        ),
    )


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
