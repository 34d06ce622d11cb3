"""Dead letters as a table for people, as plain columns for pipes, and as JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import click
import msgspec

from treadle import json
from treadle.cli.clean import clean
from treadle.cli.table import as_columns, as_table, roughly
from treadle.db.dead_letters import DeadRun, DeadRunInFull
from treadle.identity import HEADER as IDENTITY
from treadle.identity.header import shown
from treadle.messaging.dead_letters import DeadLetter
from treadle.operations.dead_letters import Letter, died_at, ref
from treadle.wire.shown import shown_kwargs

COLUMNS = ("ID", "AGE", "FROM", "REASON")
# On a terminal, how many are done before it is told again.
STEP = 100


def listed(letters: Sequence[Letter], *, as_json: bool) -> None:
    """Write a list of dead letters."""
    if as_json:
        for letter in letters:
            click.echo(json.encode(_brief(letter)))
    elif not letters:
        click.echo("No dead letters.", err=True)
    else:
        rows = [row(letter, datetime.now(UTC)) for letter in letters]
        if sys.stdout.isatty():
            as_table(COLUMNS, rows, whole=("ID", "AGE"))
        else:
            as_columns(COLUMNS, rows)


def row(letter: Letter, now: datetime) -> tuple[str, ...]:
    """The cells of a dead letter."""
    cells = (
        str(ref(letter)),
        roughly((now - died_at(letter)).total_seconds()),
        _origin(letter),
        reason(letter),
    )
    return tuple(" ".join(clean(cell).split()) for cell in cells)


def _origin(letter: Letter) -> str:
    return letter.source if isinstance(letter, DeadLetter) else f"thread {letter.thread_id}"


def reason(letter: Letter) -> str:
    if isinstance(letter, DeadLetter):
        return f"{letter.code} {letter.error}: {letter.reason}"
    return f"{letter.graph_id}: {letter.reason}"


def in_full(letter: DeadLetter | DeadRunInFull, *, as_json: bool) -> None:
    """Write all that is known of a dead letter."""
    if as_json:
        click.echo(json.encode({**_brief(letter), **_rest(letter)}))
        return
    for name, value in _brief(letter).items():
        click.echo(f"{name:<13} {clean(str(value))}")
    for name, value in _rest(letter).items():
        click.echo(f"\n{name}")
        for line in _lines(value):
            click.echo(f"  {clean(line)}")


def _brief(letter: Letter) -> dict[str, Any]:
    said = {"id": str(ref(letter)), "kind": ref(letter).kind, "at": died_at(letter).isoformat()}
    if isinstance(letter, DeadLetter):
        return {
            **said,
            "source": letter.source,
            "code": letter.code,
            "error": letter.error,
            "reason": letter.reason,
            "subject": letter.subject,
            "message_id": letter.message_id,
            "published_at": letter.published_at.isoformat(),
        }
    return {
        **said,
        "reason": letter.reason,
        "thread_id": str(letter.thread_id),
        "run_id": str(letter.run_id),
        "graph_id": letter.graph_id,
        "attempts": letter.attempts,
    }


def _rest(letter: DeadLetter | DeadRunInFull) -> dict[str, Any]:
    if isinstance(letter, DeadRun):
        return {"kwargs": letter.kwargs and shown_kwargs(letter.kwargs)}
    headers = {name: _showable(name, value) for name, value in letter.headers.items()}
    return {"headers": headers, "body": _body(letter.body)}


def _showable(name: str, value: str) -> str:
    """What proves who asked is good for whoever has it."""
    return shown(value) if name.lower() == IDENTITY.lower() else value


def _body(body: bytes) -> Any:
    """The JSON that it is, or else the text."""
    try:
        return json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "backslashreplace")


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.splitlines() or [""]
    else:
        yield from msgspec.json.format(json.encode(value), indent=2).decode().splitlines()


class Progress:
    """Tells what was done: of those that were named each, of all of them how many, on a terminal as it goes.

    Args:
        done: what is done to them, `retried`.
    """

    def __init__(self, done: str, *, named: bool) -> None:
        self._done = done
        self._named = named
        self._moving = sys.stderr.isatty() and not named
        self._count = 0
        self.failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moving and self._count >= STEP:
            click.echo(err=True)
        if not self._named:
            failed = f"; {self.failures} could not be" if self.failures else ""
            click.echo(f"{self._done} {self._count}{failed}")

    def done(self, name: str, what: str) -> None:
        self._count += 1
        if self._named:
            click.echo(f"{self._done} {name}{f': {what}' if what else ''}")
        elif self._moving and self._count % STEP == 0:
            click.echo(f"\r{self._done} {self._count}", nl=False, err=True)

    def failed(self, name: str, error: Exception) -> None:
        self.failures += 1
        click.secho(f"{name}: {error}", err=True, fg="red")
