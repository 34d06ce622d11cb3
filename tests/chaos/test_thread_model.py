"""A thread against its model. tests/chaos/thread says what can happen to it (machine.py, races.py), and what must come of
it (model.py).

CHAOS_EXAMPLES=5000    tries that many lives of a thread in each of the tests, in place of 25
--hypothesis-seed=N    tries the same ones again
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.thread.bench import Bench, open_bench
from tests.chaos.thread.machine import ThreadMachine
from tests.chaos.thread.operations import Cancel, DeleteRun
from tests.chaos.thread.races import Round, play, rounds
from tests.chaos.thread.scene import Scene
from treadle.dev.servers import temporary_servers
from treadle.migrate import migrate
from treadle_worker.endings import Lost

EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "25"))
STEPS = 40


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """It turns while a rule is played, and stands still in between."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def bench(loop: asyncio.AbstractEventLoop) -> Iterator[Bench]:
    stack = AsyncExitStack()

    async def build() -> Bench:
        servers = await stack.enter_async_context(temporary_servers())
        await migrate(servers.postgres.url)
        return await stack.enter_async_context(open_bench(servers))

    yield loop.run_until_complete(build())
    loop.run_until_complete(stack.aclose())


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    print_blob=True,
    derandomize=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TIMEOUT = pytest.mark.timeout(120 + 4 * EXAMPLES)


@TIMEOUT
def test_whatever_happens_to_a_thread_comes_out_as_the_model_says(
    loop: asyncio.AbstractEventLoop, bench: Bench
) -> None:
    ThreadMachine.loop, ThreadMachine.bench = loop, bench
    run_state_machine_as_test(ThreadMachine, settings=SETTINGS)


@TIMEOUT
def test_what_happens_at_the_same_moment_looks_as_if_one_came_after_the_other(
    loop: asyncio.AbstractEventLoop, bench: Bench
) -> None:
    @SETTINGS
    @given(rounds, st.booleans())
    def lives(several: list[Round], asked: bool) -> None:
        loop.run_until_complete(play(Scene(bench), several, asked=asked))

    lives()


@pytest.mark.parametrize("answers", [1, 2])
def test_a_question_is_as_it_was_when_the_answer_after_which_it_was_asked_anew_is_rolled_back(
    loop: asyncio.AbstractEventLoop, bench: Bench, answers: int
) -> None:
    """Invariant: what a run writes over on another run's checkpoint comes back with its rollback."""

    async def life(scene: Scene) -> None:
        await scene.begin(asked=True)
        for answer in range(1, answers + 1):
            await scene.do(scene.new("enqueue", None))
            await scene.pull_and_look()
            await scene.run_to_the_end(scene.hands[0])
            if answer == answers:
                await scene.do(Cancel(scene.run_id(0), "rollback"))
            await scene.finish(scene.hands[0], claim_next=True)
        await scene.check()
        await scene.come_to_rest()
        await scene.clear_away()

    loop.run_until_complete(life(Scene(bench)))


@pytest.mark.parametrize("status", ["timeout", "interrupted"])
def test_an_attempt_whose_run_was_taken_over_is_lost_when_it_is_stopped(
    loop: asyncio.AbstractEventLoop, bench: Bench, status: str
) -> None:
    """Invariant: what it put is refused, and with it what it would say of the run's end."""

    async def life(scene: Scene) -> None:
        await scene.begin(asked=False)
        await scene.do(scene.new("enqueue", "plain"))
        await scene.pull_and_look()
        lost = scene.hands[0]
        await scene.take_over(lost)
        await scene.step(lost)
        await scene.stop(lost, status)
        assert isinstance(lost.ended, Lost)
        await scene.check()
        await scene.come_to_rest()
        await scene.clear_away()

    loop.run_until_complete(life(Scene(bench)))


def test_a_run_finds_nothing_of_one_that_was_removed_as_the_run_between_them_ended(
    loop: asyncio.AbstractEventLoop, bench: Bench
) -> None:
    """The one between them had read the values by then, and leaves them on the thread."""

    async def life(scene: Scene) -> None:
        await scene.begin(asked=False)
        await scene.do(scene.new("enqueue", "plain"))
        await scene.serve()
        await scene.do(scene.new("enqueue", None))
        await scene.pull_and_look()
        await scene.run_to_the_end(scene.hands[0])
        await scene.do(scene.new("enqueue", "plain"))
        await scene.do(DeleteRun(scene.run_id(2)))
        await scene.finish(scene.hands[0], claim_next=True)
        await scene.check()
        await scene.come_to_rest()
        await scene.clear_away()

    loop.run_until_complete(life(Scene(bench)))
