"""How values are written into checkpoints and read again: langgraph's own format, read strictly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from langgraph.checkpoint.serde import (
    _msgpack,  # pyright: ignore[reportPrivateUsage]
)
from langgraph.checkpoint.serde.jsonplus import (
    JsonPlusSerializer,
    _create_msgpack_ext_hook,  # pyright: ignore[reportPrivateUsage]
)

from treadle.checkpoint.revivable import Name, Project, Revivable
from treadle.errors import Unreadable
from treadle.graphs.config import Config
from treadle.graphs.storage import SerdeSection


class StrictSerializer(JsonPlusSerializer):
    """langgraph's serializer, which revives no other types than those given.

    Args:
        pickle_fallback: whether values that nothing else can hold are pickled, and pickled ones are read.
        allowed_json_modules: types that may be revived from checkpoints as langgraph wrote them before it knew msgpack.
    """

    def __init__(
        self,
        revivable: Revivable,
        *,
        pickle_fallback: bool = False,
        allowed_json_modules: Iterable[Name] | Literal[True] | None = None,
    ) -> None:
        super().__init__(
            pickle_fallback=pickle_fallback,
            allowed_json_modules=allowed_json_modules,
            allowed_msgpack_modules=None,
        )
        self._revivable = revivable
        self._unpack_ext_hook = _create_msgpack_ext_hook(revivable)  # pyright: ignore[reportArgumentType]

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[Name | type]) -> JsonPlusSerializer:
        """Add what the schema of a graph names. What one graph may have, all of the process may: no saver needs a clone."""
        self._revivable.add(
            (each.__module__, each.__name__) if isinstance(each, type) else each for each in extra_allowlist
        )
        return self

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises Unreadable: it is in a format that is not read, or broken."""
        try:
            return super().loads_typed(data)
        except NotImplementedError as error:
            raise Unreadable(
                f"A checkpoint holds a value in the format {data[0]!r}, which is not read. If its writer can be trusted, and it "
                "is 'pickle', set `checkpointer.serde.pickle_fallback` of langgraph.json to true."
            ) from error
        except ValueError as error:
            raise Unreadable(f"A checkpoint holds a value that is no {data[0]}: {error}.") from error


def serializer_of(config: Config) -> JsonPlusSerializer:
    """What langgraph.json asks for: strict, unless it or LANGGRAPH_STRICT_MSGPACK says otherwise."""
    section = config.checkpointer.serde or SerdeSection()
    more: dict[str, Any] = {
        "pickle_fallback": section.pickle_fallback,
        "allowed_json_modules": section.json_types,
    }
    if section.allowed_msgpack_modules is True or not _msgpack.STRICT_MSGPACK_ENABLED:
        return JsonPlusSerializer(allowed_msgpack_modules=True, **more)
    return StrictSerializer(Revivable(Project.of(config), section.msgpack_types), **more)
