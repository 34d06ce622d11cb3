"""What a worker counts, as Prometheus reads it from METRICS_PORT."""

from __future__ import annotations

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.steps import join, new_thread, wait
from tests.stack import free_port, running_stack


async def test_a_worker_counts_runs_claims_events_and_dead_letters(tmp_path: Path) -> None:
    port = free_port()
    async with running_stack(
        "api", "scheduler", "worker", BG_JOB_MAX_RETRIES="1", TREADLE_LEASE_SECS="3"
    ) as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        run = await client.runs.create(
            thread, "deadly", input={"log": str(tmp_path / "marks"), "label": "run"}
        )
        await stack.worker(METRICS_PORT=str(port))
        assert "__error__" in await join(client, thread, run)
        await wait(client, await new_thread(client), "steps", input={"text": "a"})
        await wait(client, await new_thread(client), "failing", input={"text": "a"}, raise_error=False)
        counted = await read(port)
    assert counted["treadle_dead_letters_total"] == 1
    assert counted["treadle_claims_total{ended}"] == 1
    assert counted["treadle_claims_total{claimed}"] == 2
    assert counted["treadle_runs_ended_total{success}"] == 1
    assert counted["treadle_runs_ended_total{error}"] == 2
    # steps: metadata, three times values, the end; failing: metadata, twice values, error, the end.
    assert counted["treadle_events_published_total"] == 5 + 5
    assert counted["treadle_events_dropped_total"] == 0
    assert counted["treadle_heartbeat_failures_total"] == 0
    assert counted["treadle_checkpoint_write_seconds_count"] > 0


async def read(port: int) -> dict[str, float]:
    """Every sample, as `name` or `name{label}`."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    return {
        sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
