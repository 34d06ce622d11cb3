"""Whose fault an error of Postgres is, by its SQLSTATE (appendix A of the Postgres manual).

What Postgres cannot do now, but may a moment later, is nobody's error: whoever asked asks again. All else is an error of
the statement or its data, and would come again.
"""

from __future__ import annotations

from collections.abc import Collection

_CLASSES: Collection[str] = frozenset(
    {
        "08",  # the connection is lost; PgBouncer has no server for it
        "40",  # the transaction was given up for another's sake: deadlocks, conflicts
        "53",  # no room: disk full, out of memory, too many connections
        "57",  # the server shuts down, starts, recovers
        "58",  # its disk or its system fail
    }
)
_CODES: Collection[str] = frozenset(
    {
        "25006",  # read-only: a standby that is not the primary yet, or one that is no longer
        "25P03",  # the transaction was idle for too long
        "25P04",  # the transaction took too long
        "28000",  # while it is set up it lets nobody in
        "28P01",  # the password was changed there, and not here yet; or the token that it is has run out
        "3D000",  # while it is set up it has not the database either
        "55P03",  # a lock was not to be had in time
    }
)
# Of those classes, what comes again as often as it is tried.
_LASTING: Collection[str] = frozenset(
    {
        "57014",  # the statement was cancelled: it takes longer than the role's `statement_timeout`
        "58P01",  # a file is missing: an extension that was taken away
    }
)


def is_away(sqlstate: str | None) -> bool:
    """Whether an error says that Postgres cannot do its work now; None is what drivers say of lost connections."""
    if sqlstate is None or sqlstate in _CODES:
        return True
    return sqlstate[:2] in _CLASSES and sqlstate not in _LASTING
