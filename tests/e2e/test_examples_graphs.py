"""The example graphs, run as langgraph runs them; how Treadle serves them is tested elsewhere."""
# pyright: reportUnknownMemberType=false
# (langgraph leaves some type parameters of its graphs open.)

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from treadle.graphs.config import Config, read_config
from treadle.graphs.loader import Graph, load, prepare_imports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import RunnableConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}

LEASES = """# Runs

A run is a row before it is a message.

## Leases

A worker holds a lease on each run. The heartbeat extends all leases
with one statement.

```sh
lease lease lease
```
"""


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MODEL", raising=False)
        config = read_config(EXAMPLES / "langgraph.json")
        prepare_imports(config)
        yield config


def serve(config: Config, graph_id: str) -> Graph:
    """The graph as a server prepares it: a copy with a checkpointer and a store of its own."""
    graph = load(config, graph_id)
    assert not callable(graph)
    return graph.copy({"checkpointer": InMemorySaver(), "store": InMemoryStore()})


@pytest.fixture
def etl(config: Config) -> Graph:
    return serve(config, "etl")


@pytest.fixture
def agent(config: Config) -> Graph:
    return serve(config, "agent")


@pytest.fixture
def research(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "runs.md").write_text(LEASES)
    (tmp_path / "README.md").write_text("# Treadle\n\nIt serves graphs.\n")
    monkeypatch.setenv("RESEARCH_ROOT", str(tmp_path))
    return serve(config, "research")


async def run(graph: Graph, given: Any, context: dict[str, Any] | None = None) -> dict[str, Any]:
    return cast("dict[str, Any]", await graph.ainvoke(given, THREAD, context=context))


async def custom_events(
    graph: Graph, given: Any, context: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    return [event async for event in graph.astream(given, THREAD, context=context, stream_mode="custom")]


async def test_langgraph_json_describes_every_graph(config: Config) -> None:
    assert sorted(config.graphs) == ["agent", "etl", "research"]
    assert all(entry.description for entry in config.graphs.values())


async def test_states_are_plain_json(etl: Graph, research: Graph) -> None:
    report = await run(etl, {"files": ["indian.csv"]}, {"pace": 0})
    draft = await run(research, {"question": "What is a lease?"})
    draft.pop("__interrupt__")
    assert json.loads(json.dumps([report, draft])) == [report, draft]


# research


async def test_research_quotes_with_file_and_line_and_waits_for_a_human(research: Graph) -> None:
    state = await run(research, {"question": "What holds a lease?"})

    [interrupt] = state["__interrupt__"]
    quote = interrupt.value["quotes"][0]
    assert (quote["file"], quote["line"], quote["heading"]) == ("docs/runs.md", 7, "Leases")
    assert "A worker holds a lease on each run. [1]" in interrupt.value["draft"]
    assert "[1] docs/runs.md:7 (Leases)" in interrupt.value["draft"]
    assert state["answer"] is None


async def test_research_files_the_approved_answer(research: Graph) -> None:
    await run(research, {"question": "What holds a lease?"})
    state = await run(research, Command(resume={"approved": True}))

    assert state["answer"] == state["draft"]
    assert isinstance(research.store, InMemoryStore)
    item = await research.store.aget(("research", "answers"), "what-holds-a-lease")
    assert item is not None
    assert item.value["answer"] == state["answer"]


async def test_research_drafts_again_with_the_feedback(research: Graph) -> None:
    first = await run(research, {"question": "What is a row?"})
    second = await run(research, Command(resume={"approved": False, "feedback": "What extends a lease?"}))
    third = await run(research, Command(resume={"approved": True}))

    assert "heartbeat" not in first["draft"]
    assert any("heartbeat" in quote["text"] for quote in second["quotes"])
    assert second["__interrupt__"]
    assert third["answer"] == second["draft"]


@pytest.mark.parametrize("answer", ["yes", {"approved": "yes"}, {"approved": False, "feedback": 1}, None])
async def test_research_asks_again_when_the_answer_makes_no_sense(research: Graph, answer: Any) -> None:
    first = await run(research, {"question": "What is a lease?"})
    # None resumes nothing by itself: it has to name the interrupt.
    resume = {first["__interrupt__"][0].id: None} if answer is None else answer
    state = await run(research, Command(resume=resume))
    assert state["__interrupt__"][0].value["ask"].startswith("Please answer")


async def test_research_ends_without_an_answer_when_nothing_is_found(research: Graph) -> None:
    state = await run(research, {"question": "Who painted the Mona Lisa?"})
    assert "__interrupt__" not in state
    assert state["answer"] is None


async def test_research_shows_its_progress(research: Graph) -> None:
    events = await custom_events(research, {"question": "What is a lease?"})
    assert [event["stage"] for event in events] == ["read", "retrieve", "draft"]
    assert events[0] == {"stage": "read", "files": 2, "passages": 3}


async def test_a_second_question_on_the_thread_begins_afresh(research: Graph) -> None:
    await run(research, {"question": "What is a lease?"})
    await run(research, Command(resume={"approved": False, "feedback": "heartbeat"}))
    await run(research, Command(resume={"approved": True}))
    state = await run(research, {"question": "What serves graphs?"})
    assert (state["feedback"], state["answer"]) == ([], None)
    assert state["quotes"][0]["file"] == "README.md"


async def test_research_reads_another_corpus_but_none_outside_of_the_root(research: Graph) -> None:
    state = await run(research, {"question": "What is a run?"}, {"corpus": "docs"})
    assert state["quotes"]
    with pytest.raises(ValueError, match="lies outside"):
        await run(research, {"question": "What is a run?"}, {"corpus": "../.."})


async def test_research_quotes_what_stands_in_the_file(
    research: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESEARCH_ROOT")
    state = await run(research, {"question": "Which rows does the job reject?"}, {"corpus": "examples"})
    for quote in state["quotes"]:
        lines = (EXAMPLES.parent / quote["file"]).read_text().splitlines()
        assert "\n".join(lines[quote["line"] - 1 :]).startswith(quote["text"])


# agent


def ask(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("question", "tool", "answer"),
    [
        ("What is 12.5 * (3 + 4)?", "calculator", "12.5 * (3 + 4) = 87.5."),
        ("Add 0.1 + 0.2", "calculator", "0.1 + 0.2 = 0.3."),
        (
            'How many words are in "to be or not to be"?',
            "count_words",
            "The text has 6 words and 18 characters.",
        ),
    ],
)
async def test_the_agent_calls_the_tool_that_fits(
    agent: Graph, question: str, tool: str, answer: str
) -> None:
    messages = (await run(agent, ask(question)))["messages"]
    assert [call["name"] for call in messages[1].tool_calls] == [tool]
    assert isinstance(messages[2], ToolMessage)
    assert messages[-1].text == answer


async def test_the_agent_calls_several_tools_at_once(agent: Graph) -> None:
    messages = (
        await run(agent, ask("What time is it in New York and in Europe/Lisbon, and what is 2**10?"))
    )["messages"]
    calls = [(call["name"], call["args"]) for call in messages[1].tool_calls]
    assert calls == [
        ("calculator", {"expression": "2**10"}),
        ("current_time", {"place": "New York"}),
        ("current_time", {"place": "Europe/Lisbon"}),
    ]
    assert "(America/New_York, " in messages[-1].text


@pytest.mark.parametrize("question", ["What time is it in Atlantis?", "9**9**9", "1 / 0", "(1 + 2"])
async def test_the_agent_reports_a_tool_that_fails(agent: Graph, question: str) -> None:
    messages = (await run(agent, ask(question)))["messages"]
    assert messages[2].status == "error"
    assert messages[2].text in messages[-1].text


async def test_the_agent_streams_its_answer_token_by_token(agent: Graph) -> None:
    parts = [part async for part, _ in agent.astream(ask("What is 6 * 7?"), THREAD, stream_mode="messages")]
    tokens = [str(part.text) for part in parts if isinstance(part, AIMessageChunk) and part.text]
    assert tokens == ["6 ", "* ", "7 ", "= ", "42."]


async def test_the_agent_goes_on_with_the_conversation_of_its_thread(agent: Graph) -> None:
    await run(agent, ask("What is 6 * 7?"))
    messages = (await run(agent, ask("Hello")))["messages"]
    assert len(messages) == 6
    assert messages[-1].text.startswith("I am a rule-based model")
    assert isinstance(messages[-1], AIMessage)


async def test_a_model_that_is_not_installed_is_named(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = importlib.import_module("agent.model")
    monkeypatch.setenv("MODEL", "nosuchprovider:some-model")
    with pytest.raises((model.ModelError, ValueError), match="nosuchprovider"):
        model.choose_model()


# etl


async def test_etl_accepts_good_rows_and_rejects_odd_ones_with_a_reason(etl: Graph) -> None:
    state = await run(etl, {}, {"pace": 0})
    report = state["report"]
    assert (report["files"], report["rows"], report["accepted"], report["rejected"]) == (11, 436, 312, 124)
    assert report["reasons"] == {"unknown country XX": 91, "no coordinates": 33}
    assert {row["file"] for row in state["rejected"]} == {"now.csv", "etcetera.csv"}
    assert state["rejected"][0]["line"] == 2
    assert (report["northernmost"], report["southernmost"]) == ("America/Danmarkshavn", "Antarctica/Vostok")


async def test_etl_reads_coordinates_with_and_without_seconds(etl: Graph) -> None:
    zones = (await run(etl, {"files": ["antarctica.csv"]}, {"pace": 0}))["zones"]
    positions = {zone["zone"]: (zone["latitude"], zone["longitude"]) for zone in zones}
    assert positions["Antarctica/Troll"] == (-72.0114, 2.5350)
    assert positions["Antarctica/Casey"] == (-66.2833, 110.5167)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["CH"], "1 cells instead of 4"),
        (["", "+4723+00832", "Europe/Zurich", ""], "no country"),
        (["CH,ZZ", "+4723+00832", "Europe/Zurich", ""], "unknown country ZZ"),
        (["CH", "47N 8E", "Europe/Zurich", ""], "malformed coordinates"),
        (["CH", "+9123+00832", "Europe/Zurich", ""], "coordinates off the globe"),
    ],
)
async def test_etl_says_what_is_wrong_with_a_row(config: Config, cells: list[str], reason: str) -> None:
    rows = importlib.import_module("etl.zones")
    with pytest.raises(rows.BadRowError, match=f"^{reason}$"):
        rows.parse_row(cells, {"CH": "Switzerland"})


async def test_etl_shows_its_progress_by_file_and_round(etl: Graph) -> None:
    files = {"files": ["etcetera.csv", "indian.csv"]}
    events = await custom_events(etl, files, {"pace": 0, "chunk_rows": 20})
    assert {tuple(event) for event in events} == {("stage", "file", "rows", "done", "total")}
    by_stage = [(event["stage"], event["file"], event["done"], event["total"]) for event in events]
    assert sorted(by_stage[2:4]) == [("clean", "etcetera.csv", 20, 33), ("clean", "indian.csv", 3, 3)]
    assert by_stage[:2] == [("extract", "etcetera.csv", 0, 33), ("extract", "indian.csv", 0, 3)]
    assert by_stage[4:] == [
        ("round", None, 23, 36),
        ("clean", "etcetera.csv", 33, 33),
        ("round", None, 36, 36),
        ("report", None, 36, 36),
    ]


async def test_etl_keeps_the_report_in_the_store_and_starts_afresh_on_its_thread(etl: Graph) -> None:
    await run(etl, {"files": ["indian.csv"]}, {"pace": 0})
    state = await run(etl, {"files": ["australia.csv"]}, {"pace": 0})
    assert len(state["zones"]) == state["report"]["accepted"] == 11
    assert isinstance(etl.store, InMemoryStore)
    item = await etl.store.aget(("etl", "reports"), "latest")
    assert item is not None
    assert item.value == state["report"]


async def test_etl_goes_on_after_the_last_finished_round(etl: Graph) -> None:
    """A run that is stopped half-way does no round twice."""
    await etl.ainvoke({"files": ["europe.csv"]}, THREAD, context={"pace": 0}, interrupt_before=["take_stock"])
    events = await custom_events(etl, None, {"pace": 0})
    assert [event["done"] for event in events if event["stage"] == "clean"] == [20, 30, 38]


@pytest.mark.parametrize("context", [{"pace": -1}, {"chunk_rows": 0}])
async def test_etl_refuses_a_context_that_never_ends(etl: Graph, context: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="chunk_rows"):
        await run(etl, {}, context)


async def test_etl_names_a_file_that_does_not_exist(etl: Graph) -> None:
    with pytest.raises(ValueError, match=r"No such file: \.\./countries\.csv"):
        await run(etl, {"files": ["../countries.csv"]})
