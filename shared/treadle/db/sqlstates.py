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
        "57",  # the server shuts down, starts, recovers; the statement was cancelled by somebody
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


def is_away(sqlstate: str | None) -> bool:
    """Whether an error says that Postgres cannot do its work now; None is what drivers say of lost connections."""
    return sqlstate is None or sqlstate[:2] in _CLASSES or sqlstate in _CODES
