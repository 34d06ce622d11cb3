"""`python -m treadle.dev.launch MODULE`: runs a service under `treadle dev`, as `python -m MODULE` would.

It is given the read end of a pipe (its number in TREADLE_LIFELINE) whose other end `treadle dev` holds.

- Importing a service takes a second, as long as the servers take to start. So it is imported at once, and
  run when a byte comes through the pipe: then the servers answer and the database is migrated.
- When the pipe ends, `treadle dev` is dead, however it died, and the service ends too. On Linux the kernel
  sees to that already (see `treadle.parent`); this wall stands on every system.

The service knows nothing of this.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import threading
from importlib import util

LIFELINE = "TREADLE_LIFELINE"


def main() -> None:
    module = sys.argv.pop(1)
    lifeline = int(os.environ.pop(LIFELINE))
    _import_early(module)
    if not os.read(lifeline, 1):
        sys.exit("`treadle dev` is gone.")
    threading.Thread(target=_die_with_parent, args=(lifeline,), name="lifeline", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _import_early(module: str) -> None:
    """Import what the module will import, by importing it under its own name instead of `__main__`."""
    spec = util.find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    name = f"{module}.__main__" if is_package else module
    importlib.import_module(name)
    del sys.modules[name]  # it is about to be run as __main__; runpy warns of a second copy


def _die_with_parent(lifeline: int) -> None:
    while os.read(lifeline, 1):
        continue
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
