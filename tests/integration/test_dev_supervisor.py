"""`treadle dev` as its user meets it: the real command, its output, and what it leaves behind."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run

from treadle.dev import accounts
from treadle.dev.app import SAME_SIGNAL_SECS
from treadle.dev.readiness import until_ok
from treadle.dev.servers import temporary_servers
from treadle.dev.servers.addresses import is_free
from treadle.dev.terminal import Terminal

HOST = "127.0.0.1"
READY = "Treadle is ready"
# Settings of whoever runs the tests must not reach what is tested.
SET_BY_DEV = {
    "DATABASE_URI",
    "NATS_URL",
    "REDIS_URI",
    "LANGGRAPH_CONFIG",
    "TREADLE_HOST",
    "TREADLE_PORT",
    "PORT",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in SET_BY_DEV}

CONFIG = '{"dependencies": ["."], "graphs": {"echo": "./echo.py:graph", "lasting": "./lasting.py:graph"}}'
ECHO = """
from typing import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict, total=False):
    said: str

graph = StateGraph(State).add_node("say", lambda state: {"said": "WORD"})
graph = graph.set_entry_point("say").compile()
"""
# Its only node lasts a minute the first time that it is run, and no time the second.
LASTING = """
import asyncio
from pathlib import Path
from typing import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict, total=False):
    times: int

async def last(state: State) -> State:
    begun = Path(__file__).with_name("begun")
    if begun.exists():
        return {"times": 2}
    begun.touch()
    await asyncio.sleep(60)
    return {"times": 1}

graph = StateGraph(State).add_node("last", last).set_entry_point("last").compile()
"""


class Dev:
    """One `treadle dev` and everything that it has said."""

    def __init__(self, process: Process, port: int, data_dir: Path) -> None:
        self.process = process
        self.port = port
        self.data_dir = data_dir
        self.lines: list[str] = []
        self._spoke = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(), name="read")

    @property
    def client(self) -> LangGraphClient:
        return get_client(url=f"http://{HOST}:{self.port}", api_key=None)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def says(self, pattern: str, *, after: int = 0, within: float = 20) -> int:
        """Wait for a line that matches; returns its place, for what is to come after it."""
        try:
            async with asyncio.timeout(within), self._spoke:
                await self._spoke.wait_for(lambda: self._ended() or self._find(pattern, after) is not None)
        except TimeoutError:
            pytest.fail(f"{pattern!r} was not said within {within} s:\n{self.text}")
        place = self._find(pattern, after)
        assert place is not None, f"{pattern!r} was not said before the end:\n{self.text}"
        return place

    async def ended(self, within: float = 20) -> int:
        async with asyncio.timeout(within):
            await self._reading
            return await self.process.wait()

    async def interrupt(self) -> float:
        """Press Ctrl-C, and return how long it took to stop."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert await self.ended() == 0, self.text
        return time.monotonic() - began

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def service(self, module: str) -> psutil.Process:
        return next(child for child in self.family() if module in child.cmdline())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._spoke:
                self.lines.append(line.decode().rstrip())
                self._spoke.notify_all()
        async with self._spoke:
            self._spoke.notify_all()

    def _ended(self) -> bool:
        assert self.process.stdout is not None
        return self.process.stdout.at_eof()

    def _find(self, pattern: str, after: int) -> int | None:
        found = (
            place for place, line in enumerate(self.lines) if place >= after and re.search(pattern, line)
        )
        return next(found, None)


async def start(
    project: Path,
    *options: str,
    data_dir: Path | None = None,
    prefix: Sequence[str] = (),
    **environ: str,
) -> Dev:
    port = free_port()
    data_dir = data_dir or project / ".treadle"
    process = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-m", "treadle.cli", "dev", "--data-dir", str(data_dir), *options),
        cwd=project,
        env={**ENVIRONMENT, "PORT": str(port), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    return Dev(process, port, data_dir)


@asynccontextmanager
async def started(project: Path, *options: str, **more: Any) -> AsyncGenerator[Dev]:
    """A `treadle dev` that is up, and is ended if the test did not do that."""
    dev = await start(project, *options, **more)
    try:
        await dev.says(READY)
        yield dev
    finally:
        if dev.process.returncode is None:
            dev.process.send_signal(signal.SIGINT)
            await dev.ended()


def free_port() -> int:
    return next(port for port in range(18_000 + os.getpid() % 1000, 20_000) if is_free(HOST, port))


async def gone(processes: Sequence[psutil.Process], within: float = 10) -> bool:
    """Whether the processes end in time; whose parent died is not always reaped, and has ended all the same."""
    deadline = time.monotonic() + within
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def new_project() -> Path:
    """A project in a directory that every user may pass through; pytest's own are closed to others."""
    project = Path(tempfile.mkdtemp(prefix="treadle-test-"))
    project.chmod(0o755)
    (project / "langgraph.json").write_text(CONFIG)
    (project / "echo.py").write_text(ECHO)
    (project / "lasting.py").write_text(LASTING)
    return project


@pytest.fixture
def project() -> Iterator[Path]:
    project = new_project()
    yield project
    shutil.rmtree(project)


@pytest.fixture(scope="module")
async def shared() -> AsyncGenerator[Dev]:
    """One `treadle dev --reload` for the tests that leave it as they found it."""
    project = new_project()
    async with started(project, "--reload", "--workers", "2") as dev:
        yield dev
    shutil.rmtree(project)


async def echoed(dev: Dev) -> Any:
    """What the graph says, once the API answers."""
    async with asyncio.timeout(20):
        await until_ok(HOST, dev.port)
        return cast(Any, await dev.client.runs.wait(None, "echo", input={}))


async def begin_lasting_run(dev: Dev, thread_id: str | None) -> Run:
    """Start the run that lasts, and return when it is on."""
    run: Run = await dev.client.runs.create(thread_id, "lasting", input={})  # pyright: ignore[reportCallIssue, reportArgumentType]
    async with asyncio.timeout(10):
        while not (dev.data_dir.parent / "begun").exists():  # noqa: ASYNC110 - made by another process
            await asyncio.sleep(0.05)
    return run


async def test_it_says_what_is_served_and_where_everything_lies(shared: Dev) -> None:
    for title, text in (
        ("API", f"http://{HOST}:{shared.port}"),
        ("Graphs", "echo, lasting"),
        ("Config", str(shared.data_dir.parent / "langgraph.json")),
        ("Workers", "2"),
        ("Postgres", "postgresql://"),
        ("NATS", "nats://127.0.0.1:"),
        ("Valkey", "unix://"),
        ("Data", str(shared.data_dir)),
    ):
        assert re.search(rf"^ +{title} +{re.escape(text)}", shared.text, re.MULTILINE), shared.text
    assert await echoed(shared) == {"said": "WORD"}


async def test_the_same_data_directory_twice_is_refused(shared: Dev) -> None:
    second = await start(shared.data_dir.parent)
    assert await second.ended() != 0
    assert f"{shared.data_dir} is in use" in second.text
    assert f"pid {shared.process.pid}, which serves http://{HOST}:{shared.port}" in second.text
    assert "--data-dir" in second.text


async def test_a_taken_port_is_refused_before_anything_is_started(shared: Dev, project: Path) -> None:
    second = await start(project, "--port", str(shared.port))
    assert await second.ended() != 0
    assert f"Port {shared.port} on {HOST} is taken" in second.text
    assert "--port" in second.text
    assert not (project / ".treadle" / "postgres").exists()


async def test_a_service_that_dies_is_started_again(shared: Dev) -> None:
    here = len(shared.lines)
    shared.service("treadle_api").kill()
    await shared.says(r"api was ended by SIGKILL; starting it again in \d", after=here)
    assert await echoed(shared) == {"said": "WORD"}


async def test_a_server_that_dies_is_started_again_at_its_address(shared: Dev) -> None:
    here = len(shared.lines)
    next(child for child in shared.family() if child.name() == "nats-server").kill()
    await shared.says("nats was ended by SIGKILL; starting it again", after=here)
    assert await echoed(shared) == {"said": "WORD"}


async def test_changed_code_is_served_and_broken_code_waits_for_its_mending(shared: Dev) -> None:
    echo = shared.data_dir.with_name("echo.py")
    services = ("api", "worker-1", "worker-2")

    here = len(shared.lines)
    echo.write_text(ECHO.replace("WORD", "CHANGED"))
    await shared.says(r"echo\.py changed", after=here)
    for name in services:
        await shared.says(f"{name} starts again with the changed code", after=here)
    assert await echoed(shared) == {"said": "CHANGED"}

    here = len(shared.lines)
    echo.write_text(f"{ECHO}\nraise RuntimeError('half written')\n")
    for name in services:
        await shared.says(f"{name} cannot run like this", after=here)
    assert "RuntimeError: half written" in "\n".join(shared.lines[here:])

    echo.write_text(ECHO)
    assert await echoed(shared) == {"said": "WORD"}


async def test_ctrl_c_stops_in_order_and_the_next_start_goes_on(project: Path) -> None:
    async with started(project) as dev:
        thread = await dev.client.threads.create(metadata={"kept": "yes"})
        run = await begin_lasting_run(dev, thread["thread_id"])
        family = dev.family()

        assert await dev.interrupt() < 10
        stopped = re.findall(r"(api|scheduler|worker|treadle) .*stopped$", dev.text, re.MULTILINE)
        assert stopped == ["api", "scheduler", "worker", "treadle"], dev.text
        assert "killed" not in dev.text
        assert await gone(family, within=0)

    async with started(project) as dev:
        kept = await dev.client.threads.get(thread["thread_id"])
        assert (kept["metadata"] or {})["kept"] == "yes"
        assert await dev.client.runs.join(thread["thread_id"], run["run_id"]) == {"times": 2}


async def test_ctrl_c_twice_does_not_wait_for_what_runs(project: Path) -> None:
    async with started(project) as dev:
        await begin_lasting_run(dev, None)
        dev.process.send_signal(signal.SIGINT)
        await dev.says("stopping")
        await asyncio.sleep(SAME_SIGNAL_SECS)  # only later is it a second wish
        assert await dev.interrupt() < 3


async def test_kill_9_leaves_nothing_running_and_the_next_start_works(project: Path) -> None:
    async with started(project) as dev:
        family = dev.family()
        assert {"nats-server", "valkey-server", "postgres"} <= {process.name() for process in family}
        dev.process.kill()
        await dev.ended()
    async with started(project) as dev:
        assert await gone(family)
        assert await echoed(dev) == {"said": "WORD"}


async def test_a_graph_that_cannot_be_imported_stops_the_start(project: Path) -> None:
    (project / "echo.py").write_text(f"{ECHO}\nraise RuntimeError('no good')\n")
    dev = await start(project)
    assert await dev.ended() == os.EX_CONFIG
    assert "Traceback (most recent call last)" in dev.text
    assert f'File "{project / "echo.py"}"' in dev.text
    assert "RuntimeError: no good" in dev.text
    assert READY not in dev.text


async def test_servers_of_the_user_take_the_place_of_ours(project: Path) -> None:
    async with (
        temporary_servers() as servers,
        started(
            project,
            DATABASE_URI=servers.postgres.url,
            NATS_URL=servers.nats.url,
            REDIS_URI=servers.valkey.url,
        ) as dev,
    ):
        assert not {"nats-server", "valkey-server", "postgres"} & {process.name() for process in dev.family()}
        assert dev.text.count("(from DATABASE_URI)") == 1
        assert servers.nats.url not in dev.text  # it has a password in it
        assert await echoed(dev) == {"said": "WORD"}


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to become another user")
async def test_an_ordinary_user_runs_one_beside_another(shared: Dev, project: Path) -> None:
    """The interpreter may lie below /root, so reading is granted, and nothing else."""
    nobody = accounts.unprivileged()
    shutil.chown(project, nobody.uid, nobody.gid)
    prefix = ["setpriv", f"--reuid={nobody.uid}", f"--regid={nobody.gid}", "--clear-groups"]
    if not accounts.can_read(nobody, Path(sys.executable)):
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    async with started(project, prefix=prefix, PYTHONDONTWRITEBYTECODE="1") as dev:
        assert {process.uids().real for process in dev.family()} == {nobody.uid}
        assert await echoed(dev) == await echoed(shared)


def test_a_terminal_gets_colours_and_a_panel() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    with Terminal(screen) as terminal:
        terminal.progress("starting Postgres")
        terminal.line("worker", "[bold]as it is[/bold]")
        terminal.ready("Treadle is ready", [("API", "http://127.0.0.1:2024")])
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "starting Postgres" in shown
    assert "worker     | [bold]as it is[/bold]" in shown
    assert "API  http://127.0.0.1:2024" in shown
    assert (
        screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1
    )  # the cursor is back
