"""Each statement with which a worker could write says how it is fenced: whoever adds one has to think of it.

tests/chaos/test_fencing.py proves that the fences hold.
"""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from treadle.checkpoint import direct, order, writing
from treadle.db import runs
from treadle.store import sql

# What changes rows, or calls what may.
WRITES = re.compile(
    r"\b(insert into|update [\w.]+ |delete from|for (no key )?update|treadle\.(?!sees\()\w+\()", re.IGNORECASE
)

ATTEMPT = "names the attempt; tried by every zombie of tests/chaos/test_fencing.py"
NOT_OF_A_RUN = "is a request's, not an attempt's: whoever sends it may"
CLAIM = "is what makes an attempt: under the thread's lock, only without a live lease"
READ = "moves the end of an item's life when it is read, and nothing else"

FENCES: dict[ModuleType, dict[str, str]] = {
    runs: {
        "ANSWERS_BEFORE": "reads",
        "CREATE": NOT_OF_A_RUN,
        "CREATE_ONCE": NOT_OF_A_RUN,
        "CANCEL": NOT_OF_A_RUN,
        "CANCEL_RUNS": NOT_OF_A_RUN,
        "DELETE": NOT_OF_A_RUN,
        "CLAIM": CLAIM,
        "FINISH": ATTEMPT,
        "FINISH_WITH": ATTEMPT,
        "CLAIMED_AS": "names the one claim that its lease stands for; only what that has got is kept",
        "HAND_BACK": ATTEMPT,
        "HEARTBEAT": ATTEMPT,
        "ABANDON": ATTEMPT,
        "DIED_ALONE": "ends a lease, and only that of the one process whose death it testifies to",
    },
    writing: {
        "PUT": ATTEMPT,
        "REPLACE_WRITES": ATTEMPT,
        "TAKE_ANSWER": ATTEMPT,
        "_INTO_WRITES": "is a part of both, and inserts what is read from their fence",
        "_REPLACED": "is a part of both, and reads from their fence",
        "_OR_REPLACE": "is a part of both, and reads from their fence",
        "_NO_LONGER_WAITING": "is a part of TAKE_ANSWER, and reads from its fence",
    },
    direct: {},
    order: {},
    sql: {
        "FENCE": ATTEMPT,
        "FORGET_VECTORS": "comes behind FENCE, in one transaction",
        "GET": READ,
        "SEARCH_AND_REFRESH": READ,
        "_REFRESHED": READ,
    },
}


@pytest.mark.parametrize("module", FENCES, ids=lambda module: module.__name__)
def test_every_statement_that_writes_says_how_it_is_fenced(module: ModuleType) -> None:
    texts = {
        name: text
        for name, text in vars(module).items()
        if isinstance(text, str) and name.lstrip("_").isupper()
    }
    assert {name for name, text in texts.items() if WRITES.search(text)} == FENCES[module].keys()
