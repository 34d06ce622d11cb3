"""etl: a job of many steps that fans out over files.

    list_files ─► clean_chunk * files ─► take_stock ─► write_report
                        ▲                    │
                        └─ files with rows left

Each round is checkpointed: a job that is stopped half-way, even by a crash, goes on where it was instead of
starting again.
"""

# pyright: reportUnknownMemberType=false
# (langgraph leaves some type parameters of its builder open.)

import asyncio
import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Overwrite, Send

from etl.files import Row, count_rows, read_country_names, read_rows
from etl.report import Rejection, Report, sum_up
from etl.zones import BadRowError, Zone, parse_row


@dataclass(frozen=True)
class Context:
    """What a caller may set for a run or an assistant."""

    pace: float = 1.0
    """Seconds that a chunk takes at least: stands in for a slow source, so that progress can be watched."""

    chunk_rows: int = 10
    """Rows per step: fewer steps cost less, more steps lose less work to a crash."""

    def __post_init__(self) -> None:
        if self.pace < 0 or self.chunk_rows < 1:
            raise ValueError("`pace` must be 0 or more seconds and `chunk_rows` at least 1.")


class Job(TypedDict, total=False):
    """The input."""

    files: list[str]
    """Names of files to process; none: all of them."""


class Chunk(TypedDict):
    """The work of one `clean_chunk`: some rows of one file."""

    file: str
    start: int
    total: int


class State(TypedDict):
    """What the steps gather. Several run at once, so their results are merged, not replaced."""

    total: dict[str, int]
    """Rows by file."""

    done: Annotated[dict[str, int], operator.or_]
    """Rows dealt with by file."""

    zones: Annotated[list[Zone], operator.add]
    rejected: Annotated[list[Rejection], operator.add]
    report: Report


async def list_files(state: Job) -> dict[str, Any]:
    """Extract: find the files, and begin afresh when this thread has run the job before."""
    total = await asyncio.to_thread(count_rows, state.get("files", []))
    for file, rows in total.items():
        show_progress("extract", file, rows=0, done=0, total=rows)
    return {"total": total, "done": Overwrite({}), "zones": Overwrite([]), "rejected": Overwrite([])}


def next_chunks(state: State) -> list[Send] | Literal["write_report"]:
    """One chunk of every file that has rows left, side by side; when none has, the report."""
    chunks = [
        Chunk(file=file, start=state["done"].get(file, 0), total=total)
        for file, total in state["total"].items()
    ]
    return [
        Send("clean_chunk", chunk) for chunk in chunks if chunk["start"] < chunk["total"]
    ] or "write_report"


async def clean_chunk(state: Chunk, runtime: Runtime[Context]) -> dict[str, Any]:
    """Transform: turn some rows into zones, and put the bad ones aside."""
    file, start, total = state["file"], state["start"], state["total"]
    context = runtime.context or Context()
    rows = await asyncio.to_thread(read_rows, file, start, context.chunk_rows)
    zones, rejected = await asyncio.to_thread(clean, file, rows)
    await asyncio.sleep(context.pace)
    done = start + len(rows)
    show_progress("clean", file, rows=len(rows), done=done, total=total)
    return {"zones": zones, "rejected": rejected, "done": {file: done}}


def clean(file: str, rows: list[Row]) -> tuple[list[Zone], list[Rejection]]:
    """The rows that are good, as zones, and the others with the reason why they are not."""
    names = read_country_names()
    zones, rejected = list[Zone](), list[Rejection]()
    for row in rows:
        try:
            zones.append(parse_row(row.cells, names))
        except BadRowError as error:
            rejected.append(Rejection(file=file, line=row.line, reason=str(error), cells=row.cells))
    return zones, rejected


async def take_stock(state: State) -> dict[str, Any]:
    """Wait for all chunks of a round, and tell how far the whole job is."""
    done, total = sum(state["done"].values()), sum(state["total"].values())
    show_progress("round", None, rows=done, done=done, total=total)
    return {}


async def write_report(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Load: sum up, and keep the report in the store, where other runs find it."""
    report = sum_up(state["total"], state["zones"], state["rejected"])
    if runtime.store is not None:
        await runtime.store.aput(("etl", "reports"), "latest", dict(report))
    show_progress("report", None, rows=report["rows"], done=report["rows"], total=report["rows"])
    return {"report": report}


def show_progress(stage: str, file: str | None, *, rows: int, done: int, total: int) -> None:
    """Tell whoever streams the run (stream mode `custom`); without a file it is about the whole job."""
    get_stream_writer()({"stage": stage, "file": file, "rows": rows, "done": done, "total": total})


graph = (
    StateGraph(State, context_schema=Context, input_schema=Job)
    .add_node(list_files)
    .add_node(clean_chunk, input_schema=Chunk)
    .add_node(take_stock)
    .add_node(write_report)
    .add_edge(START, "list_files")
    .add_conditional_edges("list_files", next_chunks, ["clean_chunk", "write_report"])
    .add_edge("clean_chunk", "take_stock")
    .add_conditional_edges("take_stock", next_chunks, ["clean_chunk", "write_report"])
    .add_edge("write_report", END)
    .compile(name="etl")
)
