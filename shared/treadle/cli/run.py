"""`treadle run`: run a graph on a server, and watch it."""

from __future__ import annotations

import click

from treadle.cli.jsonarg import Given, Json, ThreadId
from treadle.cli.options import url_option
from treadle.cli.request import Outcome, Request


@click.command()
@click.argument("graph")
@click.option("--input", "input_", type=Json(), help="Input of the run: JSON, @FILE, or - for stdin.")
@click.option("--resume", type=Json(), help="Answer to the question at which --thread stopped.")
@click.option("--thread", type=ThreadId(), help="Thread to run on. [default: a new one]")
@click.option("--config", type=Json(needs_object=True), help="Config of the run, an object.")
@click.option("--context", type=Json(needs_object=True), help="Context of the run, an object.")
@url_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line: event, data, id.")
def run(
    graph: str,
    input_: Given | None,
    resume: Given | None,
    thread: str | None,
    config: Given | None,
    context: Given | None,
    url: str,
    as_json: bool,
) -> None:
    """Run GRAPH (or an assistant, by its id) on a server, and show it live.

    Exit code: 0 when the run succeeded or stopped to ask, 1 when it failed, 130 after Ctrl-C, which cancels the
    run on the server.
    """
    _check(input_, resume, thread)
    request = Request(
        graph,
        url,
        thread,
        input_,
        resume,
        config.value if config else None,
        context.value if context else None,
    )
    raise SystemExit(_run(request, as_json=as_json).status.exit_code)


def _check(input_: Given | None, resume: Given | None, thread: str | None) -> None:
    """The rules that concern several options."""
    if input_ is None and resume is None:
        raise click.UsageError(
            "Nothing to run the graph on: give --input '{...}', or --resume with the answer to a question. "
            "--input null goes on from where the thread is."
        )
    if input_ is not None and resume is not None:
        raise click.UsageError(
            "--input begins anew and --resume answers a question: give one of them, not both."
        )
    if resume is not None and thread is None:
        raise click.UsageError(
            "--resume needs --thread: the id of the thread that asks. `treadle run` said it when the run stopped."
        )
    if resume is not None and resume.value is None:
        raise click.UsageError("--resume null answers nothing: give the answer, for example --resume true.")


def _run(request: Request, *, as_json: bool) -> Outcome:
    """Everything that takes time to import is imported here."""
    import asyncio  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    from treadle.cli.client import connect  # noqa: PLC0415
    from treadle.cli.session import Session  # noqa: PLC0415
    from treadle.cli.view import choose  # noqa: PLC0415

    # The SDK warns of each reconnection, on stderr, in the middle of the picture.
    warnings.filterwarnings("ignore", module="langgraph_sdk")

    async def session() -> Outcome:
        async with connect(request.url) as client:
            return await Session(client, request, choose(request, as_json=as_json)).run()

    return asyncio.run(session())
