"""Migrates DATABASE_URI in a process of its own: the migrations import langgraph, `treadle dev` does not."""

from __future__ import annotations

import asyncio
import os
import sys

from treadle.errors import TreadleError
from treadle.migrate import migrate_patiently


def main() -> None:
    try:
        applied = asyncio.run(migrate_patiently(os.environ["DATABASE_URI"]))
    except TreadleError as error:
        sys.exit(str(error))
    if applied:
        sys.stdout.write(f"database migrated: {len(applied)} steps\n")


if __name__ == "__main__":
    main()
