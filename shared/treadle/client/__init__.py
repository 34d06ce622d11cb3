"""Runs for services inside the house, over NATS instead of HTTP.

from treadle.client import RunRequest, connect

async with connect("nats://localhost:4222") as treadle:
    run = await treadle.create(RunRequest(assistant_id="agent", input={"question": "why?"}))
    values = await treadle.join(run)
"""

from treadle.client.client import Client
from treadle.client.connecting import connect
from treadle.client.receipts import Receipt
from treadle.wire.direct import RunRef
from treadle.wire.run_event import RunEvent
from treadle.wire.run_view import RunView
from treadle.wire.runs import BatchRun as RunRequest

__all__ = ["Client", "Receipt", "RunEvent", "RunRef", "RunRequest", "RunView", "connect"]
