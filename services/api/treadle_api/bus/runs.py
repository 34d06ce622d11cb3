"""What can be asked about runs over NATS: as over HTTP, with the same bodies and the same answers."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from treadle import json
from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE, Scope
from treadle.errors import NotFound
from treadle.identity.caller import Permission
from treadle.operations.cancel import Cancellation
from treadle.wire.direct import CancelRequest, JoinRequest, RunRef, WaitRequest
from treadle.wire.run_view import run_view
from treadle.wire.runs import BatchRun
from treadle_api.bus.acceptance import Acceptance, Accepted
from treadle_api.bus.call import Call
from treadle_api.bus.holding import Holding
from treadle_api.operations.existing import existing_run
from treadle_api.operations.results import Results

Ref = TypeVar("Ref", bound=RunRef)

# JSON for what HTTP answers with a status alone.
DONE = b"{}"


class DirectRuns:
    """One method per endpoint: a call in, JSON out. What they raise is answered as a `Problem`."""

    def __init__(
        self,
        acceptance: Acceptance,
        cancellation: Cancellation,
        results: Results,
        runs: Runs,
        holding: Holding,
    ) -> None:
        self._acceptance = acceptance
        self._cancellation = cancellation
        self._results = results
        self._runs = runs
        self._holding = holding

    async def create(self, call: Call) -> bytes:
        accepted = await self._accept(call, call.read(BatchRun))
        if accepted.run is None:
            raise NotFound(
                f"The run {accepted.run_id} that was made for this Nats-Msg-Id is gone; "
                "a request for another one needs another id."
            )
        return json.encode(run_view(accepted.run))

    async def wait(self, call: Call) -> bytes:
        body = call.read(WaitRequest)
        accepted = await self._accept(call, body)
        if accepted.run is None:  # what came of it is known for a moment longer
            await existing_run(self._runs, EVERYWHERE, accepted.thread_id, accepted.run_id, gone=True)
        return await self._result(accepted.thread_id, accepted.run_id, body.timeout_secs)

    async def get(self, call: Call) -> bytes:
        body = self._about(call, call.read(RunRef))
        scope = await self._readable(call, body)
        return json.encode(run_view(await existing_run(self._runs, scope, body.thread_id, body.run_id)))

    async def join(self, call: Call) -> bytes:
        body = self._about(call, call.read(JoinRequest))
        scope = await self._readable(call, body)
        await existing_run(self._runs, scope, body.thread_id, body.run_id, gone=True)
        return await self._result(body.thread_id, body.run_id, body.timeout_secs)

    async def cancel(self, call: Call) -> bytes:
        body = self._about(call, call.read(CancelRequest))
        value: dict[str, Any] = {
            "thread_id": body.thread_id,
            "run_id": body.run_id,
            "metadata": {},
            "action": body.action.value,
        }
        scope = await call.access.allow("threads", "update", value, needs=Permission.RUN)
        await self._cancellation.cancel(scope, body.thread_id, body.run_id, body.action)
        if body.wait:
            await self._result(body.thread_id, body.run_id, body.timeout_secs)
        return DONE

    async def _accept(self, call: Call, body: BatchRun) -> Accepted:
        accepted = await self._acceptance.accept(call.access, body, call.key)
        call.about(accepted.thread_id, accepted.run_id)
        return accepted

    @staticmethod
    async def _readable(call: Call, body: RunRef) -> Scope:
        return await call.access.allow(
            "threads", "read", {"thread_id": body.thread_id, "run_id": body.run_id}
        )

    async def _result(self, thread_id: UUID, run_id: UUID, wished_secs: float | None) -> bytes:
        return await self._holding.result(self._results.join(thread_id, run_id), wished_secs)

    @staticmethod
    def _about(call: Call, body: Ref) -> Ref:
        call.about(body.thread_id, body.run_id)
        return body
