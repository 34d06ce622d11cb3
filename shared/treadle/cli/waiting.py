"""Waits for a run that is there already, and tells how it ended as `treadle run` does."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

import click
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from treadle.cli.cancel import cancel
from treadle.cli.clean import clean
from treadle.cli.happenings import error_text
from treadle.cli.journal import Journal
from treadle.cli.jsonlines import JsonLines
from treadle.cli.narrator import Line
from treadle.cli.report import report
from treadle.cli.request import Outcome, Question, Request, Status

ERROR, ASKED = "__error__", "__interrupt__"
ROLLED_BACK = "UserRollback"


async def waited(client: LangGraphClient, url: str, run: Mapping[str, Any], *, as_json: bool) -> Outcome:
    """Wait until a run has ended and show how; Ctrl-C cancels it on the server.

    Raises:
        TreadleError: it was cancelled and does not stop.
    """
    graph = run["metadata"]["graph_id"]
    with _spinner(graph, as_json=as_json):
        outcome = await _outcome(client, url, run["thread_id"], run["run_id"])
    if as_json:
        JsonLines(sys.stdout.buffer).end(outcome)
    else:
        _print(report(Request(graph, url), outcome, Journal(time.monotonic)))
    return outcome


async def _outcome(client: LangGraphClient, url: str, thread: str, run: str) -> Outcome:
    began = time.monotonic()
    try:
        values = cast("Any", await client.runs.join(thread, run))
    except asyncio.CancelledError:
        cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
        await cancel(client, url, thread, run)
        return Outcome(Status.CANCELLED, run, thread, time.monotonic() - began)
    kept = await _kept(client, thread, run)
    took = time.monotonic() - began
    if not isinstance(values, Mapping):  # what an entrypoint returned; questions and errors come as members
        return Outcome(_status({}, kept, asked=False), run, thread, took, values)
    told = cast("Mapping[str, Any]", values)
    questions = told.get(ASKED, ()) if kept is not None else ()
    return Outcome(
        _status(told, kept, asked=bool(questions)),
        run,
        thread,
        took,
        values={key: value for key, value in told.items() if key != ERROR},
        questions=[Question(each["id"], each["value"]) for each in questions],
        error=error_text(told[ERROR]) if ERROR in told else None,
    )


async def _kept(client: LangGraphClient, thread: str, run: str) -> str | None:
    """The status of a run, unless it has gone with the thread that it had for itself."""
    with suppress(NotFoundError):
        return (await client.runs.get(thread, run))["status"]
    return None


def _status(values: Mapping[str, Any], kept: str | None, *, asked: bool) -> Status:
    """What is gone with its thread has ended as its values say; nobody can answer its questions."""
    if asked:
        return Status.QUESTION
    if ERROR in values:
        rolled_back = values[ERROR].get("error") == ROLLED_BACK
        return Status.STOPPED if rolled_back else Status.TIMEOUT if kept == "timeout" else Status.ERROR
    return Status.STOPPED if kept == "interrupted" else Status.SUCCESS


@contextmanager
def _spinner(graph: str, *, as_json: bool) -> Generator[None]:
    """Something that moves, for a person who waits at a terminal."""
    if as_json or not sys.stdout.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only a person needs it

    with Console().status(f"waiting for {clean(graph)}  (Ctrl-C cancels the run)"):
        yield


def _print(lines: Iterable[Line]) -> None:
    if not sys.stdout.isatty():
        for line in lines:
            click.echo(line.text.rstrip())
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for line in lines:
        console.print(Text(line.text, line.style), soft_wrap=True)
