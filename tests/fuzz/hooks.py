"""What schemathesis is told of the API: where there is something to find, and what would only make it wait.

Loaded by schemathesis itself, in a process of its own; FUZZ_REAL holds ids of what the test made.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import Any, cast

import schemathesis

REAL: dict[str, str] = json.loads(os.environ["FUZZ_REAL"])
# A run that begins later keeps those waiting that come after it; a webhook leads out of the test.
LEFT_OUT = ("after_seconds", "webhook")
# Hundreds of runs that nobody waits for: on a thread of their own, so that those that are waited for need not queue.
BACKGROUND = "/threads/{thread_id}/runs"

_count = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put most requests on what exists: what they would make up is nowhere to be found."""
    if case.method == "DELETE" or next(_count) % 4 == 0:
        return
    given = cast("dict[str, Any]", case.path_parameters or {})
    real = {**REAL, "thread_id": REAL["busy_thread_id"]} if case.path == BACKGROUND else REAL
    case.path_parameters = {name: real.get(name, value) for name, value in given.items()}
    if isinstance(case.body, dict):
        case.body = _body(cast("dict[str, Any]", case.body))


def _body(body: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in LEFT_OUT}
    named = {"assistant_id": "steps", "graph_id": "steps"}
    return {name: named.get(name, value) for name, value in kept.items()}
