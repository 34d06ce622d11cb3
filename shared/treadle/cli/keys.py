"""`treadle keys`: API keys, with which clients prove over HTTP who they are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from treadle.cli.age import Age

if TYPE_CHECKING:
    from treadle.db.api_keys import ApiKeyRows

T = TypeVar("T")
# Those of treadle.identity.caller, whose package would bring along the client of NATS: help should not pay for it.
DEFAULT_TENANT = "default"
PERMISSIONS = ("read", "run", "resume", "update", "administer")
# To administer has to be asked for.
USUAL = PERMISSIONS[:-1]
MAX_NAME_CHARACTERS = 256


class KeyId(click.ParamType[str]):
    """The id of a key, as lists show it; or a whole key, as one finds it where it should not be."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        found = re.fullmatch(r"(?:treadle_)?([0-9a-z]{12})(?:_[0-9A-Za-z]+)?", str(value), re.ASCII)
        if found is None:
            # Not shown: it may hold most of a key.
            self.fail(
                "This is no id of a key: it has 12 letters and digits; `treadle keys list` has them.",
                param,
                ctx,
            )
        return found[1]


class Name(click.ParamType[str]):
    """Printable text."""

    name = "TEXT"

    def __init__(self, most: int) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text or len(text) > self._most or not text.isprintable():
            self.fail(
                f"{text[: self._most]!r} cannot be used: give 1 to {self._most} printable characters.",
                param,
                ctx,
            )
        return text


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where `treadle dev` keeps its data. [default: DATABASE_URI, or else .treadle]",
)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys, which clients send as `x-api-key`.

    Servers heed them with TREADLE_API_KEYS=on; see docs/auth.md.
    """


@keys.command()
@click.option(
    "--tenant", type=Name(128), default=DEFAULT_TENANT, show_default=True, help="The tenant it is for."
)
@click.option(
    "--user",
    type=Name(MAX_NAME_CHARACTERS),
    help="The user whom it stands for. [default: key:NAME, or key:ID]",
)
@click.option(
    "--permission",
    "permissions",
    type=click.Choice(PERMISSIONS),
    multiple=True,
    help="What it may do; may be given again. [default: all but administer]",
)
@click.option(
    "--expires",
    type=Age("time"),
    metavar="TIME",
    help="How long it is good: 12h, 90d. [default: until revoked]",
)
@click.option("--name", type=Name(MAX_NAME_CHARACTERS), help="What to call it in lists.")
@data_dir_option
def create(
    tenant: str,
    user: str | None,
    permissions: tuple[str, ...],
    expires: timedelta | None,
    name: str | None,
    data_dir: Path | None,
) -> None:
    """Make a key, and write it to stdout: it is shown this once and kept nowhere."""
    from treadle.cli.keys_view import made  # noqa: PLC0415 - after the arguments are checked
    from treadle.db.api_keys import NewKey  # noqa: PLC0415
    from treadle.identity.api_keys import issue  # noqa: PLC0415

    issued = issue()
    key = NewKey(
        id=issued.id,
        hash=issued.hash,
        name=name,
        tenant=tenant,
        identity=user or f"key:{name or issued.id}",
        permissions=_in_order(permissions or USUAL),
        lifetime=expires,
    )
    made(_with_rows(data_dir, lambda rows: rows.create(key)), issued.text)


@keys.command("list")
@click.option("--tenant", help="Only keys of this tenant.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")
def list_(tenant: str | None, data_dir: Path | None, as_json: bool) -> None:
    """List keys, the newest first, also those that are good no more; never what they are."""
    from treadle.cli.keys_view import listed  # noqa: PLC0415 - after the arguments are checked

    listed(_with_rows(data_dir, lambda rows: rows.all(tenant)), as_json=as_json)


@keys.command()
@click.argument("key", metavar="ID", type=KeyId())
@data_dir_option
def revoke(key: str, data_dir: Path | None) -> None:
    """Make the key ID good for nothing, for ever, within five seconds."""
    from treadle.cli.keys_view import revoked  # noqa: PLC0415 - after the arguments are checked
    from treadle.errors import NotFound  # noqa: PLC0415

    found = _with_rows(data_dir, lambda rows: rows.revoke(key))
    if found is None:
        raise NotFound(f"There is no API key {key} in this database; `treadle keys list` shows all.")
    revoked(found)


def _in_order(permissions: tuple[str, ...]) -> list[str]:
    return [permission for permission in PERMISSIONS if permission in permissions]


def _with_rows(data_dir: Path | None, call: Callable[[ApiKeyRows], Awaitable[T]]) -> T:
    """Everything that takes time to import is imported here."""
    import asyncio  # noqa: PLC0415

    from treadle.cli.servers import database, postgres  # noqa: PLC0415
    from treadle.db.api_keys import ApiKeyRows  # noqa: PLC0415
    from treadle.migrate import require_schema  # noqa: PLC0415

    where = database(data_dir)

    async def connected() -> T:
        async with postgres(where) as pool:
            await require_schema(pool)
            return await call(ApiKeyRows(pool))

    return asyncio.run(connected())
