"""How the samples of a profile are counted."""

from __future__ import annotations

from bench.profiles import REST, by_part, shares

LOOP = "serve (treadle/service.py:57);run (uvloop/__init__.py:92);Runner.run (asyncio/runners.py:118)"


def test_a_sample_belongs_to_the_innermost_frame_that_is_a_parts() -> None:
    counted = by_part(
        [
            f"{LOOP};Slot.serve (treadle_worker/slot.py:60);Connection.fetch (asyncpg/connection.py:717) 3",
            f"{LOOP};Pregel.astream (pregel/main.py:3462);FencedSaver.aput (treadle/checkpoint/fenced.py:9);sleep (time.py:1) 2",
            f"{LOOP};Slot.serve (treadle_worker/slot.py:60) 1",
            f"{LOOP} 1",
        ]
    )
    assert [(part.partition(":")[0], count) for part, count in counted.most_common()] == [
        ("asyncpg", 3),
        ("checkpoints", 2),
        ("Treadle's own steps", 1),
        (REST, 1),
    ]


def test_threads_that_rest_do_not_count() -> None:
    assert not by_part(["Thread.run (threading.py:982);_worker (concurrent/futures/thread.py:81) 7"])


def test_what_is_less_than_a_hundredth_is_not_shown() -> None:
    shown = shares(by_part([f"{LOOP};f (asyncpg/pool.py:1) 199", f"{LOOP};g (litestar/app.py:1) 1"]))
    assert "100 %" in shown
    assert "litestar" not in shown
    assert REST not in shown
