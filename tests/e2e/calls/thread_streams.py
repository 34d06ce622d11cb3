"""Every member of the client's stream of a thread, by the names `run_start` for `run.start` and the like."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.calls.runs import TRACING
from tests.e2e.calls.sdk import TRANSPORT, Sdk

SECS = 20.0
SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "hi", "id": "h-1"}]}
# What holds functions, and what only holds data.
MODULES = ("run", "agent")
DATA = frozenset({"thread_id", "assistant_id", "interrupted"})


class Opened:
    """An open stream, of either client; notes which parameters its functions were given."""

    def __init__(self, sdk: Sdk, target: Any, given: defaultdict[str, set[str]]) -> None:
        self.target = target
        self._sync = sdk.kind == "sync"
        self._given = given

    async def call(self, path: str, *args: Any, **kwargs: Any) -> Any:
        function: Any = self.target
        for name in path.split("."):
            function = getattr(function, name)
        signature = inspect.signature(function)
        self._given[path.replace(".", "_")] |= signature.bind(*args, **kwargs).arguments.keys()
        if self._sync:
            return await asyncio.to_thread(function, *args, **kwargs)
        made = function(*args, **kwargs)
        return await made if inspect.isawaitable(made) else made

    async def start(self, **given: Any) -> Any:
        return await self.call("run.start", **given)

    async def read(self, name: str) -> Any:
        """A member that waits for its value."""
        if self._sync:
            return await asyncio.to_thread(getattr, self.target, name)
        return await getattr(self.target, name)

    async def interrupted(self) -> None:
        """Wait until the graph asks something; the client notes it and tells nobody."""
        while not self.target.interrupted:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

    async def items(self, iterable: Any) -> list[Any]:
        return [item async for item in self.each(iterable)]

    async def each(self, iterable: Any) -> AsyncIterator[Any]:
        if not self._sync:
            async for item in iterable:
                yield item
            return
        iterator, ended = iter(iterable), object()
        while (item := await asyncio.to_thread(next, iterator, ended)) is not ended:
            yield item


@asynccontextmanager
async def opened(sdk: Sdk, graph: str) -> AsyncGenerator[Opened]:
    """The stream of a new thread; each is entered and closed as its client does it."""
    stream = sdk.threads.target.stream(assistant_id=graph)
    async with asyncio.timeout(SECS):
        if sdk.kind == "async":
            async with stream:
                yield Opened(sdk, stream, sdk.streamed)
            return
        await asyncio.to_thread(stream.__enter__)
        try:
            yield Opened(sdk, stream, sdk.streamed)
        finally:
            await asyncio.to_thread(stream.__exit__, None, None, None)


async def run_start(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        started = await thread.start(
            input={"text": "a"},
            config={"tags": ["t"]},
            metadata={"mark": sdk.mark},
            langsmith_tracing=TRACING,
        )
        assert (await thread.read("output"))["text"] == "A!"
        [run] = await sdk.runs.list(thread.target.thread_id)
        assert (run["run_id"], run["metadata"]["mark"]) == (started["run_id"], sdk.mark)


async def run_respond(sdk: Sdk) -> None:
    async with opened(sdk, "approval") as thread:
        await thread.start(input={"text": "a"})
        await thread.interrupted()
        [asked] = thread.target.interrupts
        await thread.call("run.respond", "yes", interrupt_id=asked["interrupt_id"])
        assert (await thread.read("output"))["text"] == "a:yes"


async def interrupts(sdk: Sdk) -> None:
    async with opened(sdk, "approval") as thread:
        await thread.start(input={"text": "a"})
        await thread.interrupted()
        assert [asked["value"] for asked in thread.target.interrupts] == [{"question": "go on?"}]


async def agent_get_tree(sdk: Sdk) -> None:
    async with opened(sdk, "parent") as thread:
        plain = await thread.call("agent.get_tree", **TRANSPORT)
        deep = await thread.call("agent.get_tree", xray=True)
        assert len(deep["nodes"]) > len(plain["nodes"])


async def output(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        await thread.start(input={"text": "a"})
        assert await thread.read("output") == {"text": "A!", "steps": ["first", "second"]}


async def values(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        await thread.start(input={"text": "a"})
        assert (await thread.items(thread.target.values))[-1]["text"] == "A!"


async def messages(sdk: Sdk) -> None:
    async with opened(sdk, "talking") as thread:
        await thread.start(input=SAID)
        said = await thread.items(thread.target.messages)
        texts = ["".join(await thread.items(message.text)) for message in said]
        assert texts == ["Let me look.", "It is fine in Bern"]


async def tool_calls(sdk: Sdk) -> None:
    async with opened(sdk, "talking") as thread:
        await thread.start(input=SAID)
        [call] = await thread.items(thread.target.tool_calls)
        assert (call.name, call.input) == ("weather", {"city": "Bern"})


async def subgraphs(sdk: Sdk) -> None:
    async with opened(sdk, "delegating") as thread:
        await thread.start(input=SAID)
        [child] = await thread.items(thread.target.subgraphs)
        assert (child.graph_name, child.status) == ("expert", "completed")


async def subagents(sdk: Sdk) -> None:
    async with opened(sdk, "delegating") as thread:
        await thread.start(input=SAID)
        assert [child.graph_name for child in await thread.items(thread.target.subagents)] == ["expert"]


async def extensions(sdk: Sdk) -> None:
    async with opened(sdk, "extended") as thread:
        await thread.start(input=SAID)
        told = await thread.items(thread.target.extensions["steps"])
        assert [step["payload"] for step in told] == [{"nodes": ["report"]}]


async def events(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        await thread.start(input={"text": "a"})
        told: list[str] = []
        async for event in thread.each(thread.target.events):
            told.append(event["method"])
            if event["method"] == "lifecycle" and event["params"]["data"]["event"] == "completed":
                break
        assert {"values", "lifecycle"} <= set(told)


async def subscribe(sdk: Sdk) -> None:
    async with opened(sdk, "parent") as thread:
        subscription = await thread.call("subscribe", ["updates"], namespaces=[[]], depth=0)
        await thread.start(input={"text": "x"})
        told = [event["params"]["data"] for event in await thread.items(subscription)]
        assert [next(iter(data.get("values", data))) for data in told] == ["child", "outer"]


async def interleave_projections(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        await thread.start(input={"text": "a"})
        told = await thread.items(await thread.call("interleave_projections", ["values", "updates"]))
        assert [next(iter(item)) for channel, item in told if channel == "updates"] == ["first", "second"]
        assert [item["text"] for channel, item in told if channel == "values"][-1] == "A!"


async def observe_applied_through_seq(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        await thread.call("observe_applied_through_seq", 0)
        await thread.start(input={"text": "a"})
        assert (await thread.read("output"))["text"] == "A!"


async def close(sdk: Sdk) -> None:
    async with opened(sdk, "steps") as thread:
        await thread.start(input={"text": "a"})
        await thread.call("close")
        await thread.call("close")
