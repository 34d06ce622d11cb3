"""The `treadle` command without a server: arguments, errors, and the three views of recorded streams."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from langgraph_sdk.schema import StreamPart
from rich.console import Console

from treadle.cli import happenings
from treadle.cli.brief import brief
from treadle.cli.cron_table import row as cron_row
from treadle.cli.journal import Clock
from treadle.cli.jsonarg import Given
from treadle.cli.jsonlines import JsonLines
from treadle.cli.live import LiveView
from treadle.cli.main import COMMANDS, main
from treadle.cli.plain import PlainView
from treadle.cli.request import Outcome, Question, Request, Status
from treadle.cli.view import View

THREAD = "01a1fd11-89cc-7460-a35e-bf9b1f97e616"
RUN = "01a1fd11-8a11-76d9-a256-059077e7b708"
DOCS = Path(__file__).parents[2] / "docs"


def invoke(*arguments: str, stdin: str | None = None, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, arguments, input=stdin)


# --- the command line ---


def test_help_lists_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert all(re.search(rf"^  {command} ", result.output, re.M) for command in COMMANDS)


def test_help_imports_no_heavy_package() -> None:
    script = (
        "import sys; from treadle.cli.main import main; main(['--help'], standalone_mode=False);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", script]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    for heavy in ("langgraph", "langgraph_sdk", "litestar", "httpx", "rich", "asyncpg", "nats"):
        assert f"'{heavy}'" not in imported


def test_version_names_the_program() -> None:
    assert re.fullmatch(r"treadle \S.*\n", invoke("--version").output)


@pytest.mark.parametrize(
    "command",
    [
        "dev",
        "run",
        "cron list",
        "cron pause",
        "cron resume",
        "cron trigger",
        "keys create",
        "keys list",
        "audit list",
    ],
)
def test_every_option_is_documented(command: str) -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z][a-z-]+", invoke(*command.split(), "--help").output)) - {"--help"}
    assert {option for option in options if f"`{option}`" not in text} == set()


@pytest.mark.parametrize(
    ("arguments", "problem", "way_out"),
    [
        (["--input", "{x"], "'--input': '{x' is not JSON", "--input @file"),
        (["--input", "@absent.json"], "'absent.json' cannot be read: No such file", "JSON file after the @"),
        (["--input", "1", "--context", "[1]"], "'--context': '[1]' is not a JSON object", "--context @file"),
        (["--input", "1", "--thread", "x"], "'--thread': 'x' is not a thread id", "leave the option out"),
        (
            ["--input", "1", "--url", "localhost:2024"],
            "'localhost:2024' is no address of a server",
            "http://127.0.0.1:2024",
        ),
        (
            ["--input", "1", "--url", "http://h:port"],
            "'http://h:port' is no address of a server",
            "http://127.0.0.1:2024",
        ),
        ([], "Nothing to run", "give --input"),
        (["--input", "1", "--resume", "1"], "--input begins anew", "give one of them"),
        (["--resume", "1"], "--resume needs --thread", "the id of the thread that asks"),
        (["--resume", "null", "--thread", THREAD], "--resume null answers nothing", "--resume true"),
    ],
)
def test_a_wrong_argument_is_named_with_its_problem_and_the_way_out(
    arguments: list[str], problem: str, way_out: str
) -> None:
    result = invoke("run", "agent", *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert way_out in result.stderr


@pytest.mark.parametrize(
    ("arguments", "problem", "way_out"),
    [
        (["pause"], "Name the crons", "--metadata"),
        (["resume", THREAD, "--all"], "Name the crons", "one of the three"),
        (["pause", "nightly"], "'nightly' is not the id of a cron", "`treadle cron list`"),
        (["list", "--metadata", "[1]"], "is not a JSON object", "--metadata @file"),
    ],
)
def test_a_wrong_argument_about_crons_is_named_with_its_problem_and_the_way_out(
    arguments: list[str], problem: str, way_out: str
) -> None:
    result = invoke("cron", *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert way_out in result.stderr


@pytest.mark.parametrize("arguments", [["list"], ["pause", "--all"], ["trigger", THREAD]])
def test_crons_of_a_server_that_is_away_say_so(arguments: list[str]) -> None:
    result = invoke("cron", *arguments, TREADLE_URL="http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No server answers at http://127.0.0.1:1" in result.stderr


def test_a_cron_is_a_row_that_cannot_steer_the_terminal() -> None:
    now = datetime(2026, 11, 21, 10, 59, 30, tzinfo=UTC)
    cron = {
        "cron_id": RUN,
        "assistant_id": THREAD,
        "schedule": "0 12 * * *",
        "timezone": "Europe/Berlin",
        "next_run_date": "2026-11-21T11:00:00+00:00",
        "enabled": True,
        "last_error": "The thread\n\x1b[2Jwas busy.",
    }
    names = {THREAD: "agent"}
    assert cron_row(cron, names) == (
        RUN,
        "agent",
        "0 12 * * *",
        "Europe/Berlin",
        "2026-11-21T11:00:00+00:00",
        "✗ The thread [2Jwas busy.",
    )
    assert cron_row(cron, names, now=now)[4] == "Sat 2026-11-21 12:00:00 (in 30 s)"
    assert cron_row({**cron, "enabled": False}, names)[4] == "paused"
    assert cron_row({**cron, "next_run_date": None}, names)[4] == "ended"
    assert cron_row({**cron, "last_error": None}, names)[5] == "-"


def test_stdin_that_is_not_json_is_named() -> None:
    result = invoke("run", "agent", "--input", "-", stdin="oops")
    assert "'--input': what came on stdin is not JSON" in result.stderr


def test_a_server_that_is_away_is_named_with_the_way_out() -> None:
    result = invoke("run", "agent", "--input", "{}", TREADLE_URL="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"treadle: No server answers at http://127\.0\.0\.1:1 .*`treadle dev`.*\n", result.stderr
    )
    assert result.stdout == ""


def test_migrate_without_a_database_says_so() -> None:
    result = invoke("migrate", DATABASE_URI="")
    assert result.exit_code == os.EX_CONFIG
    assert re.fullmatch(r"treadle: DATABASE_URI must be set .*\n", result.stderr)


def test_migrate_with_a_database_that_is_away_says_so() -> None:
    result = invoke("migrate", "--no-wait", DATABASE_URI="postgresql://nobody@127.0.0.1:1/none")
    assert result.exit_code == 1
    assert re.fullmatch(r"treadle: Postgres could not be reached while migrating .*\n", result.stderr)


@pytest.mark.parametrize("service", ["api", "worker", "scheduler"])
def test_a_service_without_settings_names_them(service: str) -> None:
    unset = {"DATABASE_URI": "", "REDIS_URI": "", "NATS_URL": ""}
    command = [sys.executable, "-m", "treadle.cli", service]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **unset})
    assert result.returncode == os.EX_CONFIG
    assert re.fullmatch(
        r"treadle: DATABASE_URI, REDIS_URI, NATS_URL must be set in the environment.*\n", result.stderr
    )


# --- recorded streams ---


def started(task: str, node: str, under: str = "") -> StreamPart:
    return StreamPart(f"tasks{under}", {"id": task, "name": node, "input": {}, "triggers": []})


def finished(task: str, node: str, under: str = "", **outcome: Any) -> StreamPart:
    data: dict[str, Any] = {
        "id": task,
        "name": node,
        "error": None,
        "result": {},
        "interrupts": [],
        **outcome,
    }
    return StreamPart(f"tasks{under}", data)


def message(kind: str, content: Any, name: str | None = None) -> StreamPart:
    data: Any = [
        {"type": kind, "content": content, "id": "m1", "name": name},
        {"langgraph_node": "call_model"},
    ]
    return StreamPart("messages", data)


def custom(data: Any) -> StreamPart:
    return StreamPart("custom", data)


METADATA = StreamPart("metadata", {"run_id": RUN, "attempt": 1}, "1-0")

AGENT = [
    METADATA,
    started("1", "call_model"),
    message("AIMessageChunk", ""),
    finished("1", "call_model"),
    started("2", "tools"),
    message("tool", "2*3 = 6", "calculator"),
    finished("2", "tools"),
    started("3", "call_model"),
    message("AIMessageChunk", "2*3 "),
    message("AIMessageChunk", [{"type": "text", "text": "= 6."}, {"type": "image"}]),
    message("AIMessageChunk", "\nDone"),
    finished("3", "call_model"),
]

FAN_OUT = [
    METADATA,
    started("1", "clean"),
    started("2", "clean"),
    custom({"stage": "clean", "file": "a.csv", "done": 1, "total": 2}),
    finished("1", "clean"),
    custom({"stage": "clean", "file": None, "done": 2, "total": 2}),
    custom({"stage": "read", "words": ["run"]}),
    finished("2", "clean"),
]


def ticking() -> Clock:
    """A clock that goes on by a quarter of a second whenever it is read."""
    moments: Iterator[float] = (tick / 4 for tick in count())
    return lambda: next(moments)


def still() -> float:
    return 0.0


def outcome(status: Status, **rest: Any) -> Outcome:
    return Outcome(status, RUN, THREAD, 1.5, **rest)


def plain(parts: list[StreamPart], end: Outcome, clock: Clock = still, **request: Any) -> list[str]:
    out = io.StringIO()
    show(PlainView(Request("graph", **request), clock, out), parts, end)
    return out.getvalue().splitlines()


def show(view: View, parts: list[StreamPart], end: Outcome) -> None:
    with view:
        for part in parts:
            view.part(part)
        view.end(end)


def test_plain_lines_tell_nodes_tools_and_whole_lines_of_text() -> None:
    lines = plain(AGENT, outcome(Status.SUCCESS, values={"messages": [{"type": "ai", "content": "Done"}]}))
    assert lines[:7] == [
        "   0.00  ✓ call_model  0 ms",
        "   0.00  calculator → 2*3 = 6",
        "   0.00  ✓ tools  0 ms",
        "   0.00  call_model │ 2*3 = 6.",
        "   0.00  call_model │ Done",
        "   0.00  ✓ call_model  0 ms",
        "",
    ]
    assert lines[7] == "✓ graph finished in 1.50 s"
    assert lines[-2:] == [f"  run     {RUN}", f"  thread  {THREAD}"]


def test_plain_lines_say_how_long_each_node_took() -> None:
    lines = plain(AGENT, outcome(Status.SUCCESS), clock=ticking())
    assert re.fullmatch(r" +0\.75  ✓ call_model  0\.25 s", lines[0])


def test_the_picture_has_a_row_for_each_node() -> None:
    lines = plain(AGENT, outcome(Status.SUCCESS), clock=ticking())
    rows = [line for line in lines if re.search("[█·]{40}", line)]
    assert [row.split("  ")[1].strip() for row in rows] == ["✓ call_model ×2", "✓ tools"]  # noqa: RUF001
    assert rows[0].split()[3].startswith("█")
    assert rows[0].split()[3].endswith("█")
    assert rows[1].split()[2].startswith("·")


def test_progress_and_other_custom_events_are_told() -> None:
    lines = plain(FAN_OUT, outcome(Status.SUCCESS))
    assert lines[:5] == [
        "   0.00  clean a.csv 1/2",
        "   0.00  ✓ clean  0 ms",
        "   0.00  clean 2/2",
        '   0.00  {"stage": "read", "words": ["run"]}',
        "   0.00  ✓ clean  0 ms",
    ]


def test_a_node_of_a_subgraph_is_named_below_its_parent() -> None:
    parts = [
        METADATA,
        started("1", "ask", "|child:9"),
        finished("1", "ask", "|child:9", interrupts=[{"id": "i"}]),
    ]
    assert plain(parts, outcome(Status.QUESTION))[0] == "   0.00  ? child/ask  0 ms"


def test_a_failure_is_told_with_its_error() -> None:
    error = {"error": "ValueError", "message": "on purpose"}
    parts = [METADATA, started("1", "bad"), finished("1", "bad", error=error), StreamPart("error", error)]
    lines = plain(parts, outcome(Status.ERROR, error="ValueError: on purpose", values={"steps": ["good"]}))
    assert lines[0] == "   0.00  ✗ bad  0 ms  ValueError: on purpose"
    assert "✗ graph failed after 1.50 s: ValueError: on purpose" in lines
    assert '  steps  ["good"]' in lines


def test_a_takeover_is_told_and_forgets_what_was_under_way() -> None:
    parts = [
        METADATA,
        started("1", "model"),
        message("AIMessageChunk", "half a sent"),
        StreamPart("metadata", {"run_id": RUN, "attempt": 2}),
        started("1", "model"),
        message("AIMessageChunk", "A sentence."),
        finished("1", "model"),
    ]
    lines = plain(parts, outcome(Status.SUCCESS))
    assert "attempt 2: another worker goes on" in lines[0]
    assert not any("half a sent" in line for line in lines)


def test_a_question_is_shown_whole_with_the_command_that_answers_it() -> None:
    question = Question("i1", {"ask": "Approve?", "draft": "first line\nsecond line"})
    lines = plain([METADATA], outcome(Status.QUESTION, questions=[question]), url="http://h:1")
    assert "  ask    Approve?" in lines
    assert lines[lines.index("  draft  first line") + 1] == "         second line"
    assert f"    treadle run graph --thread {THREAD} --url http://h:1 --resume JSON" in lines


def test_several_questions_are_answered_by_their_ids() -> None:
    questions = [Question("i1", "left?"), Question("i2", "right?")]
    lines = plain([METADATA], outcome(Status.QUESTION, questions=questions))
    assert f"""    treadle run graph --thread {THREAD} --resume '{{"i1": JSON, "i2": JSON}}'""" in lines


def test_what_a_graph_says_cannot_steer_the_terminal() -> None:
    parts = [
        METADATA,
        started("1", "\x1b[2Jnode"),
        message("tool", "\x1b]0;title\x07text\x9b1m", "a\x1btool"),
    ]
    lines = plain(parts, outcome(Status.SUCCESS, values={"key\x1b[1m": "\x1b[31mred", "n": {"x": "\x9b"}}))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(lines))


def test_json_lines_are_the_parts_as_they_came_and_a_result() -> None:
    out = io.BytesIO()
    end = outcome(Status.QUESTION, values={"a": 1}, questions=[Question("i1", {"ask": "?"})])
    show(JsonLines(out), [METADATA, custom({"done": 1})], end)
    first, second, last = map(json.loads, out.getvalue().splitlines())
    assert first == {"event": "metadata", "data": {"run_id": RUN, "attempt": 1}, "id": "1-0"}
    assert second == {"event": "custom", "data": {"done": 1}, "id": None}
    assert last["event"] == "result"
    assert last["data"] == {
        "status": "interrupted",
        "run_id": RUN,
        "thread_id": THREAD,
        "seconds": 1.5,
        "values": {"a": 1},
        "interrupts": [{"id": "i1", "value": {"ask": "?"}}],
        "error": None,
    }


def live(parts: list[StreamPart]) -> tuple[str, str]:
    """What the terminal keeps, and the picture below it."""
    kept = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100, height=30)
    view = LiveView(Request("graph"), still, kept)
    for part in parts:
        view.part(part)
    below = Console(file=io.StringIO(), color_system=None, width=100, height=30)
    below.print(view.picture())
    return written(kept), written(below)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_picture_shows_running_nodes_and_a_bar_for_each_title() -> None:
    kept, below = live(FAN_OUT[:6])
    assert kept == ""
    assert re.search(r"clean  0\.0 s", below)
    assert re.search(r"a\.csv +━+.* 1/2 +clean", below)
    assert re.search(r"clean +━+ +2/2", below)


def test_the_live_view_tells_of_parallel_tasks_once() -> None:
    kept, _ = live(FAN_OUT)
    assert "✓ clean ×2" in kept  # noqa: RUF001
    assert kept.count("✓") == 1


def test_the_live_picture_shows_tokens_before_their_line_is_complete() -> None:
    kept, below = live(AGENT[:9])
    assert "2*3" in below
    assert "call_model │" not in kept


def test_the_live_view_leaves_the_summary_on_the_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100, height=30)
    show(LiveView(Request("graph"), still, console), AGENT, outcome(Status.SUCCESS))
    assert written(console).rstrip().endswith(f"thread  {THREAD}")


# --- small things ---


def test_a_part_of_an_unknown_kind_tells_nothing() -> None:
    assert list(happenings.read(StreamPart("surprise|child:1", {"a": 1}))) == []


def test_briefs_are_short() -> None:
    messages = [{"type": "human", "content": "hi"}] * 9 + [{"type": "ai", "content": [{"text": "x\n" * 99}]}]
    assert brief("a\nb\nc", lines=2) == ["a", "… 2 more lines"]
    assert brief([1, 2], lines=1) == ["[1, 2]"]
    assert brief(messages, lines=3)[0].startswith("10 messages, the last: ai: x x x")
    assert brief({"a": "x" * 99, "b": 1}, lines=3) == [f"a: {'x' * 76}…", "b: 1"]
    assert brief({"a": {"b": "x" * 99, "c": 1}}, lines=2) == ["a: 2 keys: b, c"]
    assert len(brief({str(key): "x" * 9 for key in range(99)}, lines=5)) == 5


def test_null_is_an_input() -> None:
    assert Request("graph", input=Given(None)).input is not None


@pytest.mark.parametrize(
    ("status", "code"),
    [("success", 0), ("interrupted", 0), ("error", 1), ("timeout", 1), ("stopped", 1), ("cancelled", 130)],
)
def test_exit_codes(status: str, code: int) -> None:
    assert Status(status).exit_code == code
