"""The line between a worker and the process in which it has a run executed alone: a pair of sockets.

The worker says what its own drain has come to. The process says, at its very end, what became of its run: one that ends
without a word has died, whatever its exit status (`os._exit(0)` in a node looks like success). And when the worker is
dead, however it died, its end of the line is closed, and the process dies too. On Linux the kernel sees to that already.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

DRAIN = b"d"
HASTEN = b"h"
END = b"."
LONGEST_WORD = 1024

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends. Where it cannot, only the line tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def die_first() -> None:
    """Ask the kernel to take this process, which has one run, before the worker with all its others, when memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


class ChildEnd:
    """The end of the process that was started.

    Args:
        descriptor: the number that it was given.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)

    def listen(self, on_word: Callable[[bytes], None]) -> None:
        """Call `on_word` with each word, on a thread of its own, as the loop may be blocked; die when the worker is dead."""
        threading.Thread(target=self._listen, args=(on_word,), name="lifeline", daemon=True).start()

    def _listen(self, on_word: Callable[[bytes], None]) -> None:
        while word := self._socket.recv(1):
            on_word(word)
        os.kill(os.getpid(), signal.SIGKILL)

    def say_end(self, statuses: Sequence[str]) -> None:
        """Everything is written and let go of; these are the statuses with which runs have ended here."""
        self._socket.sendall(" ".join(statuses).encode() + END)


class ParentEnd:
    """The worker's end."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)

    def say(self, word: bytes) -> None:
        """Tell the process, unless it has ended."""
        with suppress(OSError):
            self._socket.send(word)

    async def last_words(self) -> list[str] | None:
        """Wait for what the process says of its runs at its end; None: the line is closed, and it has said nothing."""
        said = b""
        try:
            while not said.endswith(END):
                word = await asyncio.get_running_loop().sock_recv(self._socket, LONGEST_WORD)
                if not word:
                    return None
                said += word
        except OSError:
            return None
        return said.removesuffix(END).decode().split()
