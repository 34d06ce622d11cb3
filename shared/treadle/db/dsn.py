"""DATABASE_URI as drivers take it, and what it says to Treadle alone."""

from __future__ import annotations

import re
from typing import NamedTuple

from treadle import readable
from treadle.errors import ConfigError
from treadle.settings import HOST

# Whether Postgres, or the pooler before it, keeps prepared statements from one transaction to the next.
PARAMETER = "prepared_statements"
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
# What both drivers understand in the same way. They show what they do not understand, be it a piece of a password.
_CREDENTIALS = r"([^/?@#\[\]%]|%[0-9a-fA-F]{2})*@"
_FORM = re.compile(rf"postgres(ql)?://({_CREDENTIALS})?{HOST}(,{HOST})*(/[^?#@]*)?(\?[^#]*)?")


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
        ConfigError: it is neither, the DSN cannot be understood, or a certificate that it names cannot be read.
    """
    if not _FORM.fullmatch(dsn):
        raise ConfigError(
            "DATABASE_URI cannot be understood: it is `postgresql://user:password@host:5432/name`. In the user's name and "
            "password write `@ : / ? # [ ] %` as %40 %3A %2F %3F %23 %5B %5D %25."
        )
    readable.check_parameters("DATABASE_URI", dsn, FILES)
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
