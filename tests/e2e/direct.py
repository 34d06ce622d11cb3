"""Requests over NATS as a service inside the house makes them: the service `treadle` of the micro-service framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.e2e.bus import bus
from tests.stack import Stack

ASK_SECS = 30.0
NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Answer:
    """What came back: the bytes, and the headers of the framework."""

    data: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def code(self) -> str | None:
        return self.headers.get("Nats-Service-Error-Code")


class Bus:
    """A service inside the house."""

    def __init__(self, client: Client, stack: Stack) -> None:
        self.client = client
        self._stack = stack

    async def ask(self, endpoint: str, body: object, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        subject = f"treadle.api.runs.{endpoint}"
        message: Msg = await self.client.request(
            subject, data, timeout=ASK_SECS, headers=cast(Any, headers or None)
        )
        return Answer(message.data, message.headers or {})

    async def done(self, endpoint: str, body: object) -> Any:
        """The answer of a request that works."""
        answer = await self.ask(endpoint, body)
        assert answer.code is None, answer
        return answer.json

    async def refused(self, endpoint: str, body: object) -> Any:
        """The problem of one that does not; the headers say the same as the body."""
        answer = await self.ask(endpoint, body)
        problem = answer.json
        assert answer.code == str(problem["code"])
        assert answer.headers["Nats-Service-Error"] == problem["detail"][:500].strip()
        return problem

    async def begun(self, count: int, **body: object) -> tuple[Any, list[asyncio.Task[Answer]]]:
        """A run that goes on, and so many requests that wait for its result."""
        run = await self.done("create", {"assistant_id": "slow", "input": {"delay": 60}, **body})
        waiting = [asyncio.create_task(self.ask("join", ref(run))) for _ in range(count)]
        # They send in one turn of the loop, before what this client sends next.
        await asyncio.sleep(0)
        return run, waiting

    async def control(self, verb: str) -> list[Any]:
        """What the instances of the service say of themselves, in the order of their ids."""
        answers = sum(api.running for api in self._stack.services("api"))
        inbox = self.client.new_inbox()
        replies = await self.client.subscribe(inbox)
        await self.client.publish(f"$SRV.{verb}.treadle", reply=inbox)
        told = [json.loads((await replies.next_msg(timeout=ASK_SECS)).data) for _ in range(answers)]
        await replies.unsubscribe()
        return sorted(told, key=lambda each: each["id"])

    async def stats(self, endpoint: str) -> dict[str, Any]:
        """What all instances have counted on an endpoint, together."""
        told = [
            each
            for one in await self.control("STATS")
            for each in one["endpoints"]
            if each["name"] == endpoint
        ]
        counted = ("num_requests", "num_errors", "processing_time")
        sums: dict[str, Any] = {name: sum(each[name] for each in told) for name in counted}
        return {
            **sums,
            "in_work": sum(each["data"]["in_work"] for each in told),
            "last_errors": {each["last_error"] for each in told},
        }


@asynccontextmanager
async def asking(stack: Stack) -> AsyncGenerator[Bus]:
    """A service beside these; none of them has to answer yet."""
    async with bus(stack) as client:
        yield Bus(client, stack)


def ref(run: Mapping[str, Any]) -> dict[str, Any]:
    return {"thread_id": run["thread_id"], "run_id": run["run_id"]}


def path(run: Mapping[str, Any]) -> str:
    return f"/threads/{run['thread_id']}/runs/{run['run_id']}"
