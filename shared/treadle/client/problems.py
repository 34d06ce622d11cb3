"""Problems in an answer, as the errors that they are."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from treadle.errors import TreadleError
from treadle.wire.direct import Problem

CODE = "Nats-Service-Error-Code"


def error_of(data: bytes) -> TreadleError:
    """The error that an answer tells of, of the class that the server raised, so that it can be caught by it."""
    problem = msgspec.json.decode(data, type=Problem)
    kind = {each.__name__: each for each in _tree(TreadleError)}.get(problem.error, TreadleError)
    error = kind(problem.detail)
    error.status = problem.code
    return error


def _tree(kind: type[TreadleError]) -> Iterator[type[TreadleError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _tree(each)
