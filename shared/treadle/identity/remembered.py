"""What was found out lately, so that it need not be found out again: bounded in number and in time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by the digests of credentials; never by the credentials, which would lie in memory then.

    Args:
        most: values; the one that was not asked for the longest makes room.
        clock: seconds since any moment.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._values: OrderedDict[bytes, tuple[T, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, digest: bytes) -> T | None:
        """The value, if its time is not over."""
        if (found := self._values.get(digest)) is None:
            return None
        value, until = found
        if self._clock() >= until:
            del self._values[digest]
            return None
        self._values.move_to_end(digest)
        return value

    def keep(self, digest: bytes, value: T, secs: float) -> None:
        """Keep a value for so many seconds."""
        self._values[digest] = value, self._clock() + secs
        self._values.move_to_end(digest)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def clear(self) -> None:
        self._values.clear()
