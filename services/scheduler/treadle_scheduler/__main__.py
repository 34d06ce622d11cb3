"""`python -m treadle_scheduler`: one scheduler process, configured by the environment."""

from __future__ import annotations

from treadle.service import serve
from treadle_scheduler.app import run

if __name__ == "__main__":
    serve("scheduler", run, graphs=False)
