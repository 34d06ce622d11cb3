"""How the services of a round are set up."""

from __future__ import annotations

from pathlib import Path

# One graph: services are started again and again.
GRAPHS = Path(__file__).parent.parent / "graphs" / "chaos.json"
LEASE_SECS = 2.0
# How long a node blocks the loop of its worker.
BLOCK_SECS = LEASE_SECS + 1.5
RUN_SECS = 20.0
# Faults take workers away all the time. A run that no worker survives long is given up after so many, and none is here.
MOST_CRASHES = 100

SETTINGS = {
    "LANGGRAPH_CONFIG": str(GRAPHS),
    "TREADLE_LEASE_SECS": str(LEASE_SECS),
    "BG_JOB_TIMEOUT_SECS": str(RUN_SECS),
    "BG_JOB_MAX_RETRIES": str(MOST_CRASHES),
    "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
    "N_JOBS_PER_WORKER": "20",
    "TREADLE_LEADER_LEASE_SECS": "2",
    "TREADLE_SWEEP_INTERVAL_SECS": "1",
    "TREADLE_RETENTION_INTERVAL_SECS": "2",
    "TREADLE_SSE_HEARTBEAT_SECS": "2",
}
