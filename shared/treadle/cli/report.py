"""What is said of a run when it has ended: the picture, the state or the question, the ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from treadle.cli.brief import fields
from treadle.cli.journal import Journal
from treadle.cli.narrator import STYLES, Line
from treadle.cli.request import Outcome, Question, Request, Status
from treadle.cli.timeline import draw, duration

_QUESTION_LINES = 60
_STATE_LINES = 12
# Queueing that is shorter than this is nothing but the way to the server and back.
WORTH_SAYING_SECS = 0.5

_HEADLINES = {
    Status.SUCCESS: ("✓ {graph} finished in {took}", "bold green"),
    Status.QUESTION: ("? {graph} stopped after {took} to ask", "bold yellow"),
    Status.ERROR: ("✗ {graph} failed after {took}: {error}", "bold red"),
    Status.TIMEOUT: ("✗ {graph} took too long and was stopped after {took}: {error}", "bold red"),
    Status.STOPPED: ("✗ {graph} was cancelled on the server after {took}", "bold red"),
    Status.CANCELLED: ("✗ {graph} cancelled on the server after {took}", "bold yellow"),
}


def report(request: Request, outcome: Outcome, journal: Journal) -> Iterator[Line]:
    """The lines, in order."""
    yield Line("")
    headline, style = _HEADLINES[outcome.status]
    took = duration(outcome.seconds) + _waited(journal)
    error = outcome.error or "the server gives no reason"
    yield Line(headline.format(graph=request.graph, took=took, error=error), style)
    yield from _picture(journal)
    if outcome.status is Status.QUESTION:
        yield from _questions(request, outcome)
    else:
        yield from _section(outcome.values, lines=_STATE_LINES)
    yield Line("")
    yield Line(f"  run     {outcome.run}", "dim")
    yield Line(f"  thread  {outcome.thread}", "dim")


def _waited(journal: Journal) -> str:
    """How long the run was queued, when that is worth a word."""
    first = min((task.started for task in journal.tasks), default=0.0)
    return f" (queued for {duration(first)})" if first >= WORTH_SAYING_SECS else ""


def _picture(journal: Journal) -> Iterator[Line]:
    if rows := draw(journal):
        yield Line("")
    for row in rows:
        yield Line(f"  {row.mark.value} {row.text}", STYLES[row.mark])


def _questions(request: Request, outcome: Outcome) -> Iterator[Line]:
    for question in outcome.questions:
        if len(outcome.questions) > 1:
            yield Line("")
            yield Line(f"  question {question.id}", "yellow")
        yield from _section(question.value, lines=_QUESTION_LINES)
    yield Line("")
    yield Line("  To answer:", "yellow")
    yield Line(f"    {request.follow_up(outcome.thread, f'--resume {_answer(outcome.questions)}')}", "bold")


def _answer(questions: Sequence[Question]) -> str:
    """Where the answer goes: one alone is given as it is, several by the ids of their questions."""
    if len(questions) == 1:
        return "JSON"
    return "'{" + ", ".join(f'"{question.id}": JSON' for question in questions) + "}'"


def _section(value: Any, *, lines: int) -> Iterator[Line]:
    """The fields of a value in two columns; nothing when there is none."""
    if value is None or value in ({}, []):
        return
    yield Line("")
    found = list(fields(value, lines=lines))
    width = max(len(key) for key, _ in found)
    for key, texts in found:
        for name, text in zip([key, *[""] * len(texts)], texts, strict=False):
            yield Line(f"  {name.ljust(width)}  {text}" if width else f"  {text}")
