"""The `store` and `checkpointer` sections of langgraph.json: what keeps memory and checkpoints, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from treadle.errors import ConfigError
from treadle.graphs.lifetime import ThreadTtl

# The most that pgvector's `vector` type holds.
MOST_DIMS = 16_000
# How often expired items of the store are removed, unless `store.ttl.sweep_interval_minutes` says.
SWEEP_INTERVAL_MINUTES = 5.0
# From some milliseconds, below which Postgres cannot read the number as an interval, to two years: longer than any
# memory is kept for a while, and an interval can hold it.
Minutes = Annotated[float, Meta(ge=0.0001, le=2 * 366 * 24 * 60)]
# A type by where it is: `["package", "module", "Type"]`, or `["package.module", "Type"]`.
TypePath = Annotated[list[Annotated[str, Meta(pattern=r"^[^\s]+$")]], Meta(min_length=2)]
# Made by Treadle itself, without a model.
LOCAL_EMBED = "local"


class StoreIndex(Struct, frozen=True, kw_only=True):
    """How items are found by meaning: what turns text into vectors, and which text.

    Attributes:
        embed: `local`, `provider:model`, `./file.py:function` or `package.module:function`.
        dims: the length of the vectors; may be left out for `local` only.
        fields: paths of the text in an item's value; `$` is the whole value.
    """

    embed: str
    dims: Annotated[int, Meta(ge=1, le=MOST_DIMS)] | None = None
    fields: list[str] | None = None


class StoreTtl(Struct, frozen=True, kw_only=True):
    """How long items are kept. All in minutes.

    Attributes:
        default_ttl: for items that are put without a `ttl`; None: for ever.
    """

    refresh_on_read: bool = True
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Minutes | None = None


class StoreSection(Struct, frozen=True, kw_only=True):
    """`store`: a `path` puts a store of the user's own in the place of Postgres."""

    path: str | None = None
    index: StoreIndex | None = None
    ttl: StoreTtl | None = None

    @property
    def sweep_interval_secs(self) -> float:
        """How often expired items are removed; nobody sees them any more already."""
        return 60 * ((self.ttl and self.ttl.sweep_interval_minutes) or SWEEP_INTERVAL_MINUTES)


class SerdeSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`checkpointer.serde`: which types the values of checkpoints may become again, besides those of the graphs.

    Attributes:
        allowed_msgpack_modules: each the parts of a path to a type, `["package", "module", "Type"]`; true: any.
        allowed_json_modules: the same for checkpoints that langgraph wrote before it knew msgpack.
        pickle_fallback: whether values that nothing else can hold are pickled, and pickled ones are read.
    """

    allowed_json_modules: list[TypePath] | bool | None = None
    allowed_msgpack_modules: list[TypePath] | bool | None = None
    pickle_fallback: bool = False

    @property
    def json_types(self) -> list[tuple[str, ...]] | Literal[True] | None:
        given = self.allowed_json_modules
        return (
            [tuple(".".join(path).split(".")) for path in given] if isinstance(given, list) else given or None
        )

    @property
    def msgpack_types(self) -> list[tuple[str, ...]]:
        given = self.allowed_msgpack_modules
        return [(".".join(path[:-1]), path[-1]) for path in given] if isinstance(given, list) else []


class CheckpointerSection(Struct, frozen=True, kw_only=True):
    """`checkpointer`: a `path` puts a checkpointer of the user's own in the place of Postgres.

    Attributes:
        ttl: how long threads live, with all of their checkpoints.
        serde: how values are read from checkpoints.
    """

    path: str | None = None
    ttl: ThreadTtl | None = None
    serde: SerdeSection | None = None

    @property
    def thread_ttl(self) -> ThreadTtl:
        return self.ttl or ThreadTtl()


def is_path(text: str) -> bool:
    """Whether it names an attribute of a file or module: `./file.py:name` or `package.module:name`."""
    module, colon, attribute = text.rpartition(":")
    return bool(colon and attribute.isidentifier() and ("/" in module or "." in module))


def checked_store(file: Path, section: StoreSection) -> StoreSection:
    """The section, if its parts go together.

    Raises:
        ConfigError: names the file, the key and the way out.
    """
    _check_path(file, "store.path", section.path)
    if (index := section.index) is None or index.embed == LOCAL_EMBED:
        return section
    if not is_path(index.embed) and not all(index.embed.partition(":")):
        raise ConfigError(
            f"{file}: `store.index.embed` is {index.embed!r}: write 'local', 'provider:model' as in "
            "'openai:text-embedding-3-small', or './file.py:function'."
        )
    if index.dims is None:
        raise ConfigError(
            f"{file}: `store.index.dims` is missing: say how long the vectors of {index.embed!r} are."
        )
    return section


def checked_checkpointer(file: Path, section: CheckpointerSection) -> CheckpointerSection:
    """The section, if its path is one.

    Raises:
        ConfigError: names the file, the key and the way out.
    """
    _check_path(file, "checkpointer.path", section.path)
    return section


def _check_path(file: Path, key: str, path: str | None) -> None:
    module, colon, attribute = (path or "").rpartition(":")
    if path is not None and not (colon and module and attribute.isidentifier()):
        raise ConfigError(
            f"{file}: `{key}` is {path!r}: write './file.py:attribute' or 'package.module:attribute'."
        )
