"""`python -m treadle_worker`: one worker process, configured by the environment."""

from __future__ import annotations

from treadle.service import serve
from treadle_worker.app import Worker

if __name__ == "__main__":
    serve("worker", lambda given: Worker(given).run())
