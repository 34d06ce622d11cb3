"""`python -m treadle_api`: one API process, configured by the environment."""

from __future__ import annotations

from treadle.checkpoint.strict import be_strict

be_strict()

from treadle.service import serve  # noqa: E402 - it imports langgraph
from treadle_api.server import run  # noqa: E402

if __name__ == "__main__":
    serve("api", run)
