"""Processes that do not outlive the one that has started them.

On Linux a child asks the kernel for a signal on its parent's death (PR_SET_PDEATHSIG). Two traits of that call shape its use: the
kernel clears it when the process changes its user, so it is set after the user is; and it fires when the *thread* that forked
ends, so processes are to be started from a thread that lives as long as they do (the main one).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dies_with_parent(signum: signal.Signals) -> Callable[[], None] | None:
    """What a new process is to do before it becomes its program, so that it gets this signal when its parent dies."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signum))
        if os.getppid() != parent:  # the parent died before the kernel knew of our wish
            os.kill(os.getpid(), signal.SIGKILL)

    return before_exec
