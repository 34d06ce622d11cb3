"""`treadle cron`: the crons of a server, and what one does to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from treadle.cli.jsonarg import CronId, Given, Json, ThreadId
from treadle.cli.options import url_option

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")
metadata_option = click.option(
    "--metadata", type=Json(needs_object=True), help="Only crons that have these metadata, an object."
)


@click.group()
def cron() -> None:
    """List the crons of a server, pause and resume them, and make a run of one now."""


@cron.command("list")
@click.option("--assistant", metavar="GRAPH|ID", help="Only crons of this graph or assistant.")
@click.option("--thread", type=ThreadId(), help="Only crons on this thread.")
@metadata_option
@click.option(
    "--enabled/--paused", default=None, help="Only crons that are due some time, or only paused ones."
)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The most to list.")
@url_option
@json_option
def list_(
    assistant: str | None,
    thread: str | None,
    metadata: Given | None,
    enabled: bool | None,
    limit: int,
    url: str,
    as_json: bool,
) -> None:
    """List crons, the one that is due next first."""
    from treadle.cli.cron_calls import Wanted, found, names  # noqa: PLC0415 - after the arguments are checked
    from treadle.cli.cron_table import show  # noqa: PLC0415

    wanted = Wanted(assistant, thread, metadata.value if metadata else None, enabled)

    async def listed(client: LangGraphClient) -> tuple[list[dict[str, Any]], dict[str, str]]:
        crons = await found(client, wanted, limit + 1)
        return crons, {} if as_json else await names(client, crons[:limit])

    crons, assistants = _call(url, listed)
    show(crons[:limit], assistants, as_json=as_json)
    if len(crons) > limit:
        click.echo(f"There are more: --limit {limit} is reached.", err=True)


@cron.command()
@click.argument("crons", type=CronId(), nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All crons that are not paused.")
@metadata_option
@url_option
@json_option
def pause(crons: tuple[str, ...], all_: bool, metadata: Given | None, url: str, as_json: bool) -> None:
    """Pause CRONS, by their ids, or all that --metadata names: they are not due until they are resumed."""
    _switch(crons, all_=all_, metadata=metadata, url=url, as_json=as_json, enabled=False)


@cron.command()
@click.argument("crons", type=CronId(), nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All crons that are paused.")
@metadata_option
@url_option
@json_option
def resume(crons: tuple[str, ...], all_: bool, metadata: Given | None, url: str, as_json: bool) -> None:
    """Resume CRONS, by their ids, or all that --metadata names. What they would have made meanwhile is not made."""
    _switch(crons, all_=all_, metadata=metadata, url=url, as_json=as_json, enabled=True)


def _switch(
    crons: tuple[str, ...], *, all_: bool, metadata: Given | None, url: str, as_json: bool, enabled: bool
) -> None:
    if bool(crons) + all_ + (metadata is not None) != 1:
        raise click.UsageError(
            "Name the crons: give their ids, or --metadata '{...}', or --all; one of the three."
        )
    from treadle.cli.cron_calls import Wanted, found, switched  # noqa: PLC0415 - after the arguments are checked
    from treadle.cli.cron_table import tell  # noqa: PLC0415
    from treadle.errors import TreadleError  # noqa: PLC0415

    async def switch(client: LangGraphClient) -> tuple[int, int]:
        ids, refused = crons, 0
        if not ids:
            wanted = Wanted(metadata=metadata.value if metadata else None, enabled=not enabled)
            ids = tuple([each["cron_id"] for each in await found(client, wanted)])
        async for outcome in switched(client, url, ids, enabled=enabled):
            if isinstance(outcome, TreadleError):
                refused += 1
                click.secho(f"treadle: {outcome}", err=True, fg="red")
            else:
                tell(outcome, "resumed" if enabled else "paused", as_json=as_json)
        return len(ids), refused

    asked, refused = _call(url, switch)
    if not asked:
        click.echo(f"No cron to {'resume' if enabled else 'pause'}.", err=True)
    raise SystemExit(1 if refused else 0)


@cron.command()
@click.argument("cron", type=CronId())
@click.option("--wait", is_flag=True, help="Wait until the run has ended, and show what it left.")
@url_option
@json_option
def trigger(cron: str, wait: bool, url: str, as_json: bool) -> None:
    """Make one run of CRON now; when it is due next stays as it is.

    Exit code with --wait: as that of `treadle run`.
    """
    from treadle.cli.cron_calls import triggered  # noqa: PLC0415 - after the arguments are checked
    from treadle.cli.cron_table import tell_run  # noqa: PLC0415
    from treadle.cli.waiting import waited  # noqa: PLC0415

    async def call(client: LangGraphClient) -> int:
        run = await triggered(client, cron)
        if wait:
            return (await waited(client, url, run, as_json=as_json)).status.exit_code
        tell_run(run, as_json=as_json)
        return 0

    raise SystemExit(_call(url, call))


def _call(url: str, call: Callable[[LangGraphClient], Awaitable[T]]) -> T:
    """Everything that takes time to import is imported here."""
    import asyncio  # noqa: PLC0415

    from treadle.cli.client import connect  # noqa: PLC0415
    from treadle.cli.server_errors import server_errors  # noqa: PLC0415

    async def connected() -> T:
        with server_errors(url):
            async with connect(url) as client:
                return await call(client)

    return asyncio.run(connected())
