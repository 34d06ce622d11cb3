"""Start a process that cannot outlive this one, and stop it again.

See `treadle.parent` for how, on Linux; elsewhere `launch` (services) and `PidFile` (servers) stand in.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from treadle.dev.accounts import Account
from treadle.parent import dies_with_parent


async def spawn(
    argv: Sequence[str | Path],
    *,
    stdout: int | IO[Any],
    death_signal: signal.Signals,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start `argv` in a session of its own, so that Ctrl-C in the terminal reaches only its parent.

    Args:
        stdout: where both of its outputs go.
        death_signal: what it gets when this process dies without stopping it.
        account: the user that it runs as; None: this process's own.
    """
    identity: dict[str, Any] = {}
    if account is not None and account.uid != os.geteuid():
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return await asyncio.create_subprocess_exec(
        *map(str, argv),
        stdin=DEVNULL,
        stdout=stdout,
        stderr=STDOUT,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=dies_with_parent(death_signal),
        **identity,
    )


async def stop(process: Process, signals: Sequence[signal.Signals], *, grace: float) -> int:
    """Send the signals one after the other, each with `grace` seconds to work, and SIGKILL at last.

    SIGKILL goes to the whole session, so that what the process started goes with it.
    """
    for signum in signals:
        if process.returncode is not None:
            return process.returncode
        _send(process, signum)
        try:
            return await asyncio.wait_for(asyncio.shield(process.wait()), grace)
        except TimeoutError:
            continue
    kill_session(process.pid)
    return await process.wait()


def kill_session(pid: int) -> None:
    """Kill the process that `spawn` started and everything that it started in turn."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # it has ended; macOS answers EPERM when only a zombie is left of the group


def _send(process: Process, signum: signal.Signals) -> None:
    try:
        process.send_signal(signum)
    except ProcessLookupError:
        return
