"""`treadle deadletter`: requests that could not become runs and runs that were given up, and what one does about them."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click

from treadle.cli.age import Age

if TYPE_CHECKING:
    from treadle.operations.dead_letters import DeadLetterOffice, Letter, Ref

T = TypeVar("T")


class Choice(NamedTuple):
    """Dead letters that are named, or, with none, all that the rest leaves."""

    letters: tuple[Ref, ...]
    kind: Literal["request", "run"] | None
    source: str | None
    older_than: timedelta | None


class LetterId(click.ParamType["Ref"]):
    """The id of a dead letter, `request-17` or `run-4`."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ref:
        from treadle.operations.dead_letters import Ref  # noqa: PLC0415 - help should not pay for it

        found = re.fullmatch(r"(request|run)-([1-9]\d{0,17})", str(value))
        if found is None:
            self.fail(
                f"{value!r} is no id of a dead letter, such as request-17 or run-4; `treadle deadletter list` has them.",
                param,
                ctx,
            )
        return Ref("request" if found[1] == "request" else "run", int(found[2]))


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where `treadle dev` keeps its data. [default: DATABASE_URI and NATS_URL, or else .treadle]",
)
kind_option = click.option(
    "--kind", type=click.Choice(["request", "run"]), help="Only requests, or only runs."
)
source_option = click.option("--source", help="Only requests of this source: treadle.requests.<source>.")
older_option = click.option(
    "--older-than", type=Age(), help="With --all: only those older than 90s, 12h, 7d."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")


@click.group()
def deadletter() -> None:
    """See what came to nothing, and try it again or remove it.

    Requests over NATS that could not become runs, and runs that were given up since their workers died again and again.
    """


@deadletter.command("list")
@kind_option
@source_option
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The most to list.")
@data_dir_option
@json_option
def list_(
    kind: Literal["request", "run"] | None,
    source: str | None,
    limit: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """List dead letters, the newest first."""
    from treadle.cli.deadletter_view import listed  # noqa: PLC0415 - after the arguments are checked
    from treadle.operations.dead_letters import Wanted  # noqa: PLC0415

    found = _with_office(data_dir, lambda office: office.newest(Wanted(kind, source), limit + 1))
    listed(found[:limit], as_json=as_json)
    if len(found) > limit:
        click.echo(f"There are more: --limit {limit} is reached.", err=True)


@deadletter.command()
@click.argument("letter", metavar="ID", type=LetterId())
@data_dir_option
@json_option
def show(letter: Ref, data_dir: Path | None, as_json: bool) -> None:
    """Show all that is known of a dead letter."""
    from treadle.cli.deadletter_view import in_full  # noqa: PLC0415 - after the arguments are checked

    in_full(_with_office(data_dir, lambda office: office.get(letter)), as_json=as_json)


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """A command on dead letters: it is given those that the arguments choose as `choice`."""

    @click.argument("letters", metavar="ID...", type=LetterId(), nargs=-1)
    @click.option("--all", "all_", is_flag=True, help="All that --kind, --source and --older-than leave.")
    @kind_option
    @source_option
    @older_option
    @data_dir_option
    @functools.wraps(command)
    def chosen(
        letters: tuple[Ref, ...],
        all_: bool,
        kind: Literal["request", "run"] | None,
        source: str | None,
        older_than: timedelta | None,
        **options: Any,
    ) -> None:
        if bool(letters) == all_:
            raise click.UsageError(
                "Name the dead letters: give their ids, as `treadle deadletter list` shows them, or --all."
            )
        if letters and (kind or source or older_than):
            raise click.UsageError(
                "--kind, --source and --older-than choose among --all: they do not go with ids."
            )
        command(choice=Choice(letters, kind, source, older_than), **options)

    return chosen


@deadletter.command()
@choosing
def retry(choice: Choice, data_dir: Path | None) -> None:
    """Do what was asked once more, and remove the dead letter.

    A request is published again as it was, to be accepted once at the most, whatever is retried twice. A run is made once
    more, and goes on from its last checkpoint.
    """

    async def again(office: DeadLetterOffice, letter: Letter) -> str:
        return await office.retry(letter)

    _each("retried", choice, again, data_dir)


@deadletter.command()
@choosing
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
def purge(choice: Choice, yes: bool, data_dir: Path | None) -> None:
    """Remove dead letters for good."""
    if not choice.letters and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--all removes what nobody can bring back: say --yes as well.")
        click.confirm("Remove these dead letters for good?", abort=True)

    async def remove(office: DeadLetterOffice, letter: Letter) -> str:
        from treadle.operations.dead_letters import ref  # noqa: PLC0415

        await office.purge(ref(letter))
        return ""

    _each("removed", choice, remove, data_dir)


def _each(
    done: str,
    choice: Choice,
    act: Callable[[DeadLetterOffice, Letter], Awaitable[str]],
    data_dir: Path | None,
) -> None:
    """Do something to each; exit code 1 if one of them was not to be had."""
    from treadle.cli.deadletter_view import Progress  # noqa: PLC0415 - after the arguments are checked
    from treadle.errors import Conflict, NotFound, Unauthorized  # noqa: PLC0415

    async def act_on_all(office: DeadLetterOffice) -> Progress:
        with Progress(done, named=bool(choice.letters)) as progress:
            async for name, letter in _chosen(office, choice):
                try:
                    progress.done(name, await act(office, await letter()))
                except (NotFound, Unauthorized, Conflict) as error:
                    progress.failed(name, error)
        return progress

    progress = _with_office(data_dir, act_on_all)
    raise SystemExit(1 if progress.failures else 0)


async def _chosen(
    office: DeadLetterOffice, choice: Choice
) -> AsyncIterator[tuple[str, Callable[[], Awaitable[Letter]]]]:
    """Each with its name, and how to get it: one that is named may be gone."""
    from treadle.operations.dead_letters import Wanted, ref  # noqa: PLC0415

    for named in dict.fromkeys(choice.letters):
        yield str(named), lambda named=named: office.get(named)
    if choice.letters:
        return
    async for letter in office.all(Wanted(choice.kind, choice.source, choice.older_than)):

        async def there(letter: Letter = letter) -> Letter:
            return letter

        yield str(ref(letter)), there


def _with_office(data_dir: Path | None, call: Callable[[DeadLetterOffice], Awaitable[T]]) -> T:
    """Everything that takes time to import is imported here."""
    import asyncio  # noqa: PLC0415
    import os  # noqa: PLC0415

    from treadle.cli.servers import Link, addresses, nats_client, postgres  # noqa: PLC0415
    from treadle.db.dead_letters import DeadRuns  # noqa: PLC0415
    from treadle.messaging.dead_letters import DeadLetters  # noqa: PLC0415
    from treadle.messaging.wakeups import WakeupPublisher  # noqa: PLC0415
    from treadle.operations.dead_letters import DeadLetterOffice  # noqa: PLC0415

    where = addresses(data_dir)
    secret = os.environ.get("TREADLE_IDENTITY_SECRET", "")

    async def connected() -> T:
        async with postgres(where) as pool, nats_client(where) as client:
            publisher = WakeupPublisher(Link(client), replicas=1)
            return await call(DeadLetterOffice(DeadLetters(client), DeadRuns(pool), publisher, secret))

    return asyncio.run(connected())
