"""`python -m treadle_api`: one API process, configured by the environment."""

from __future__ import annotations

from treadle.service import serve
from treadle_api.server import run

if __name__ == "__main__":
    serve("api", run)
