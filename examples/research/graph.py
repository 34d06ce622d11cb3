"""research: retrieve, quote, draft, have a human approve, file the answer.

    read_question ─► retrieve ─► compose ─► review ─► file_answer
                        ▲  └─ nothing found ─► END │
                        └──────── not approved ────┘

The run stops in `review` and lasts as long as the human takes: nothing waits in memory meanwhile.
"""

# pyright: reportUnknownMemberType=false
# (langgraph leaves some type parameters of its builder open.)

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict, TypeGuard

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from research.bm25 import Index, words
from research.corpus import read_passages
from research.draft import Quote, write_draft

ANSWERS = ("research", "answers")


@dataclass(frozen=True)
class Context:
    """What a caller may set for a run or an assistant."""

    corpus: str | None = None
    """A folder of Markdown files below RESEARCH_ROOT; None: the project's own documentation."""

    quotes: int = 3
    """How many passages an answer quotes at most."""


class Question(TypedDict):
    """The input."""

    question: str


class State(Question):
    """What the steps hand on."""

    feedback: list[str]
    quotes: list[Quote]
    draft: str
    answer: str | None


class Decision(TypedDict):
    """What the human resumes the run with."""

    approved: bool
    feedback: NotRequired[str]


async def read_question(state: Question) -> dict[str, Any]:
    """Begin afresh, also on a thread that has answered another question before."""
    question = " ".join(state["question"].split())
    if not question:
        raise ValueError('The question is empty: start the run with {"question": "..."}.')
    return {"question": question, "feedback": [], "quotes": [], "draft": "", "answer": None}


async def retrieve(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Find the passages that speak to the question and to what the human asked for since."""
    progress = get_stream_writer()
    context = runtime.context or Context()
    passages = await asyncio.to_thread(read_passages, context.corpus)
    progress({"stage": "read", "files": len({p.file for p in passages}), "passages": len(passages)})
    # Feedback says what the draft lacked, so its words count twice.
    query = words(state["question"]) + 2 * words(" ".join(state["feedback"]))
    found = Index([f"{p.heading} {p.text}" for p in passages]).best(query, context.quotes)
    progress({"stage": "retrieve", "words": query, "found": len(found)})
    return {"quotes": [Quote(**passages[at]._asdict(), score=round(score, 3)) for at, score in found]}


def when_found(state: State) -> str:
    """Only what the corpus speaks of can be answered."""
    return "compose" if state["quotes"] else END


async def compose(state: State) -> dict[str, Any]:
    """Draft the answer."""
    get_stream_writer()({"stage": "draft", "number": len(state["feedback"]) + 1})
    return {"draft": write_draft(state["question"], state["quotes"])}


async def review(state: State) -> Command[Literal["file_answer", "retrieve"]]:
    """Ask a human. Each resume starts this node again from its top: interrupt() then returns the answer."""
    request = {"ask": "Approve this answer?", "draft": state["draft"], "quotes": state["quotes"]}
    while not is_decision(decision := interrupt(request)):
        request["ask"] = 'Please answer {"approved": true} or {"approved": false, "feedback": "..."}.'
    if decision["approved"]:
        return Command(goto="file_answer")
    return Command(update={"feedback": [*state["feedback"], decision.get("feedback", "")]}, goto="retrieve")


def is_decision(answer: Any) -> TypeGuard[Decision]:
    """Whether a resume value is one that `review` understands: it comes from outside."""
    match answer:
        case {"approved": bool(), "feedback": str()}:
            return True
        case {"approved": bool()}:
            return "feedback" not in answer
        case _:
            return False


async def file_answer(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Keep the approved answer where every later run, on any thread, can find it."""
    if runtime.store is None:
        raise RuntimeError("The answer cannot be filed: this graph runs without a store.")
    key = "-".join(re.findall(r"\w+", state["question"].lower()))[:100]
    answer = {"question": state["question"], "answer": state["draft"], "quotes": state["quotes"]}
    await runtime.store.aput(ANSWERS, key, answer)
    get_stream_writer()({"stage": "filed", "namespace": list(ANSWERS), "key": key})
    return {"answer": state["draft"]}


graph = (
    StateGraph(State, context_schema=Context, input_schema=Question)
    .add_node(read_question)
    .add_node(retrieve)
    .add_node(compose)
    .add_node(review)
    .add_node(file_answer)
    .add_edge(START, "read_question")
    .add_edge("read_question", "retrieve")
    .add_conditional_edges("retrieve", when_found, ["compose", END])
    .add_edge("compose", "review")
    .add_edge("file_answer", END)
    .compile(name="research")
)
