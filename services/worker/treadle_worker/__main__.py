"""`python -m treadle_worker`: one worker process, configured by the environment."""

from __future__ import annotations

from treadle.checkpoint.strict import be_strict

be_strict()

from treadle.service import serve  # noqa: E402 - it imports langgraph
from treadle_worker.app import Worker  # noqa: E402

if __name__ == "__main__":
    serve("worker", lambda given: Worker(given).run())
