"""The threads in which synchronous nodes run, and those that a run has left behind.

No thread can be stopped from outside. A run that is cancelled or has had its time ends without what its synchronous nodes
still do in theirs; what they do then changes nothing of the run, but it takes a thread, and maybe for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from treadle.telemetry.logs import bound

P = ParamSpec("P")
T = TypeVar("T")

# asyncio's own number is six on two cores: too few for ten runs, and each that is left behind is one less.
PER_RUN = 4
LEAST = 32


class Threads(ThreadPoolExecutor):
    """The default executor of the worker's loop; it knows for which run each thread works."""

    def __init__(self, slots: int) -> None:
        super().__init__(max(LEAST, slots * PER_RUN), thread_name_prefix="node")
        self._of: dict[Future[Any], tuple[str, object]] = {}
        self._left: dict[Future[Any], float] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        if run_id := bound().get("run_id"):
            self._of[future] = str(run_id), bound().get("attempt")
            future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        self._of.pop(future, None)
        self._left.pop(future, None)

    def leave_behind(self, run_id: object, attempt: int) -> int:
        """An attempt has ended: returns how many threads are still at work for it."""
        ended = str(run_id), attempt
        own = [future for future, of in list(self._of.items()) if of == ended and not future.done()]
        for future in own:
            self._left[future] = time.monotonic()
            if future.done():  # it ended meanwhile, and was forgotten before it was known here
                self._left.pop(future, None)
        return len(own)

    def left_behind(self, secs: float = 0.0) -> int:
        """Threads that were left behind, at least so long ago. May be asked from any thread."""
        before = time.monotonic() - secs
        return sum(left_at <= before for left_at in list(self._left.values()))
