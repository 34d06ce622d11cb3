"""What a body may hold, whichever way it came: over HTTP, a websocket or NATS."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from contextlib import suppress
from functools import reduce
from typing import Any, cast

import msgspec
from msgspec import Struct

from treadle import json
from treadle.errors import InvalidRequest, TooLarge
from treadle.settings import Settings

CONTAINERS = frozenset({dict, list})
# Lists of a body of which each entry is work of its own.
MANY = ("thread_ids", "run_ids", "ids", "supersteps")
# Commands of the protocols have what other bodies are in their `params`.
METADATA = (("metadata",), ("config", "metadata"), ("params", "metadata"), ("params", "config", "metadata"))


class BodyLimits(Struct, frozen=True, kw_only=True):
    """How deep, how many and how much.

    Attributes:
        bytes: of a whole body over HTTP, and of a frame of a websocket. NATS has a limit of its own.
        depth: of objects and lists inside of each other.
        batch: runs or ids in one request.
        page: entries that a search, a list or a history may be asked for at once.
        metadata_bytes, metadata_keys, metadata_key_chars: of the metadata that one request brings.
    """

    bytes: int
    depth: int
    batch: int
    page: int
    metadata_bytes: int
    metadata_keys: int
    metadata_key_chars: int

    @classmethod
    def of(cls, settings: Settings) -> BodyLimits:
        return cls(
            bytes=settings.treadle_http_max_body_bytes,
            depth=settings.treadle_max_json_depth,
            batch=settings.treadle_max_batch,
            page=settings.treadle_max_page,
            metadata_bytes=settings.treadle_max_metadata_bytes,
            metadata_keys=settings.treadle_max_metadata_keys,
            metadata_key_chars=settings.treadle_max_metadata_key_chars,
        )

    def read(self, data: bytes | str) -> Any:
        """A body's JSON.

        Raises:
            InvalidRequest: it is too deep, or holds too much.
            msgspec.DecodeError, UnicodeDecodeError: it is no JSON.
        """
        try:
            value = msgspec.json.decode(data)
        except RecursionError:
            raise self.too_deep() from None
        self.check(value, len(data))
        return value

    def check(self, value: Any, size: int) -> None:
        """Look at a body that has been read.

        Args:
            size: in bytes, as it came: what is small enough cannot break most of the rules.

        Raises:
            InvalidRequest: it is too deep, or holds too much.
        """
        # Each level takes two bytes.
        if size > 2 * self.depth and _is_deeper(value, self.depth):
            raise self.too_deep()
        for body in cast("list[Any]", value) if isinstance(value, list) else (value,):
            if isinstance(body, dict):
                self._check_object(cast("dict[str, Any]", body), size)
        if isinstance(value, list):
            self._check_count("body", cast("list[Any]", value))

    def check_unread(self, data: bytes) -> None:
        """Look at a body that others read; what is no JSON is for them to refuse. Raises InvalidRequest, as `check` does."""
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            self.read(data)

    def check_page(self, limit: int) -> None:
        """Raises InvalidRequest: more entries are asked for than may be."""
        if limit > self.page:
            raise InvalidRequest(
                f"limit: it is {limit}, and may be {self.page} (TREADLE_MAX_PAGE). Ask for the next page with `offset`, of a "
                "history with `before`."
            )

    def too_large(self) -> TooLarge:
        return TooLarge(
            f"body: it is larger than {self.bytes} bytes (TREADLE_HTTP_MAX_BODY_BYTES). Put what is large where the "
            "graph can fetch it, and send its address."
        )

    def too_deep(self) -> InvalidRequest:
        """What is said of a body that is too deep, to whoever finds it."""
        return InvalidRequest(
            f"body: its objects and lists are more than {self.depth} deep inside of each other (TREADLE_MAX_JSON_DEPTH). Send "
            "what is that deep as text."
        )

    def _check_object(self, body: dict[str, Any], size: int) -> None:
        for name in MANY:
            if isinstance(given := body.get(name), list):
                self._check_count(name, cast("list[Any]", given))
        if isinstance(limit := body.get("limit"), int):
            self.check_page(limit)
        for path in METADATA:
            if isinstance(held := reduce(_member, path, body), dict):
                self._check_metadata(".".join(path), cast("dict[str, Any]", held), size)

    def _check_count(self, place: str, given: Sized) -> None:
        if len(given) > self.batch:
            raise InvalidRequest(
                f"{place}: it has {len(given)} entries, and may have {self.batch} (TREADLE_MAX_BATCH). Send them in several "
                "requests."
            )

    def _check_metadata(self, place: str, metadata: dict[str, Any], size: int) -> None:
        if len(metadata) > self.metadata_keys:
            raise InvalidRequest(
                f"{place}: it has {len(metadata)} keys, and may have {self.metadata_keys} (TREADLE_MAX_METADATA_KEYS). {_ELSEWHERE}"
            )
        if longest := next((key for key in metadata if len(key) > self.metadata_key_chars), None):
            raise InvalidRequest(
                f"{place}: the key that begins with {longest[:32]!r} has {len(longest)} characters, and may have "
                f"{self.metadata_key_chars} (TREADLE_MAX_METADATA_KEY_CHARS). Put what is long into a value."
            )
        if size > self.metadata_bytes and (held := len(json.encode(metadata))) > self.metadata_bytes:
            raise InvalidRequest(
                f"{place}: it takes {held} bytes, and may take {self.metadata_bytes} (TREADLE_MAX_METADATA_BYTES). {_ELSEWHERE}"
            )


_ELSEWHERE = "Put what is much into the input of a run or the store: metadata are for finding things."


def _is_deeper(value: Any, most: int) -> bool:
    """Whether objects and lists lie in each other more than so deep; level by level, so that no depth is too much for it."""
    level: list[Any] = [value] if type(value) in CONTAINERS else []
    for _ in range(most):
        if not level:
            return False
        level = [child for each in level for child in _children(each) if type(child) in CONTAINERS]
    return bool(level)


def _children(container: Any) -> Iterable[Any]:
    return cast("dict[str, Any]", container).values() if type(container) is dict else container


def _member(value: Any, name: str) -> Any:
    """A member of what may be no object."""
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
