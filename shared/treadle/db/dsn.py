"""DATABASE_URI as drivers take it, and what it says to Treadle alone."""

from __future__ import annotations

from typing import NamedTuple

from treadle.errors import ConfigError

# Whether Postgres, or the pooler before it, keeps prepared statements from one transaction to the next.
PARAMETER = "prepared_statements"


class Dsn(NamedTuple):
    """An address of Postgres.

    `prepared`: statements are prepared once on each connection. A pooler that hands out connections by the transaction, and
    keeps no statements for its clients (PgBouncer before 1.21), needs them not to be.
    """

    address: str
    prepared: bool


def parse(dsn: str) -> Dsn:
    """Take `prepared_statements` (`yes` or `no`) out of the parameters; all else is the drivers'.

    Raises:
        ConfigError: it is neither.
    """
    address, _, query = dsn.partition("?")
    prepared, rest = "yes", list[str]()
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if name == PARAMETER:
            prepared = value
        else:
            rest.append(item)
    if prepared not in ("yes", "no"):
        raise ConfigError(
            f"DATABASE_URI has {PARAMETER}={prepared}: it is `yes`, or `no` behind a pooler that keeps none. See docs/scale.md."
        )
    return Dsn("?".join([address, "&".join(rest)] if rest else [address]), prepared == "yes")
