"""The event streaming protocol, as the public client speaks it: over SSE and over a websocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.steps import new_thread, wait
from tests.stack import Service, running_stack

SECS = 20.0
SAID = {"messages": [{"role": "user", "content": "hi", "id": "h-1"}]}
CHANNELS = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]
Transport = Literal["sse", "websocket"]
Event = dict[str, Any]

both = pytest.mark.parametrize("transport", ["sse", "websocket"])


def opened(
    client: LangGraphClient, graph: str, thread: str | None = None, transport: Transport = "sse"
) -> Any:
    """The client's own view of a thread; it makes the thread, unless one is given."""
    return client.threads.stream(thread, assistant_id=graph, transport=transport)


async def command(url: str, thread: str, method: str, **params: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.post(
            f"/threads/{thread}/commands", json={"id": 7, "method": method, "params": params}
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == 7
    return answer.json()


async def start(url: str, graph: str, given: Any, thread: str | None = None) -> str:
    """Start a run; the thread is made with it."""
    thread = thread or str(uuid4())
    assert "run_id" in (await command(url, thread, "run.start", assistant_id=graph, input=given))["result"]
    return thread


@asynccontextmanager
async def streamed(url: str, thread: str, **wanted: Any) -> AsyncGenerator[AsyncIterator[Event]]:
    """A thread's events, as they come over SSE."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=SECS) as http,
        http.stream(
            "POST", f"/threads/{thread}/stream/events", json={"channels": CHANNELS, **wanted}
        ) as answer,
    ):
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        yield (json.loads(line[5:]) async for line in lines if line.startswith("data:"))


def ended(event: Event) -> bool:
    return (
        event["method"] == "lifecycle"
        and event["params"]["data"]["event"] in END
        and not event["params"]["namespace"]
    )


END = ("completed", "failed", "interrupted")


async def until(events: AsyncIterator[Event], runs: int = 1) -> list[Event]:
    """Events until so many runs have ended."""
    told: list[Event] = []
    async with asyncio.timeout(SECS):
        async for event in events:
            told.append(event)
            runs -= ended(event)
            if not runs:
                return told
    raise AssertionError(f"the stream ended early: {told}")


async def everything(url: str, thread: str, runs: int = 1, **wanted: Any) -> list[Event]:
    async with streamed(url, thread, **wanted) as events:
        return await until(events, runs)


def of(events: list[Event], method: str) -> list[Any]:
    return [event["params"]["data"] for event in events if event["method"] == method]


# The public client.


@both
async def test_messages_come_in_pieces(client: LangGraphClient, transport: Transport) -> None:
    async with asyncio.timeout(SECS), opened(client, "talking", transport=transport) as thread:
        await thread.run.start(input=SAID)
        messages = [message async for message in thread.messages]
        pieces = [[piece async for piece in message.text] for message in messages]
        assert pieces == [["Let me look."], ["It ", "is ", "fine in Bern"]]
        assert (await thread.output)["messages"][-1]["content"][0]["text"] == "It is fine in Bern"


async def test_tool_calls_have_their_output(client: LangGraphClient) -> None:
    async with asyncio.timeout(SECS), opened(client, "talking") as thread:
        await thread.run.start(input=SAID)
        calls = [call async for call in thread.tool_calls]
        assert [(call.name, call.input, (await call.output)["content"]) for call in calls] == [
            ("weather", {"city": "Bern"}, "fine in Bern")
        ]


@both
async def test_values_follow_the_steps(client: LangGraphClient, transport: Transport) -> None:
    async with asyncio.timeout(SECS), opened(client, "steps", transport=transport) as thread:
        await thread.run.start(input={"text": "a"}, metadata={"of": "mine"})
        texts = [values.get("text") async for values in thread.values]
        assert texts[-1] == "A!"
        assert await thread.output == {"text": "A!", "steps": ["first", "second"]}
        [run] = await client.runs.list(thread.thread_id)
        assert cast(Any, run)["metadata"]["of"] == "mine"


@both
async def test_a_question_is_answered(client: LangGraphClient, transport: Transport) -> None:
    async with asyncio.timeout(SECS), opened(client, "approval", transport=transport) as thread:
        await thread.run.start(input={"text": "a"})
        async for _ in thread.values:  # ends when the run asks
            continue
        assert [asked["value"] for asked in thread.interrupts] == [{"question": "go on?"}]
        await thread.run.respond("yes")
        assert await thread.output == {"text": "a:yes", "steps": ["ask", "after"]}
        assert not thread.interrupted


async def test_subgraphs_are_found_with_their_messages(client: LangGraphClient) -> None:
    async with asyncio.timeout(SECS), opened(client, "delegating") as thread:
        await thread.run.start(input=SAID)
        found = [child async for child in thread.subgraphs]
        assert [(child.graph_name, child.status) for child in found] == [("expert", "completed")]
        messages = [message async for message in found[0].messages]
        assert [await message.text for message in messages] == ["Let me look.", "It is fine in Bern"]


async def test_a_graphs_own_channels_are_told(client: LangGraphClient) -> None:
    async with asyncio.timeout(SECS), opened(client, "extended") as thread:
        await thread.run.start(input=SAID)
        assert [step["payload"] async for step in thread.extensions["steps"]] == [{"nodes": ["report"]}]


async def test_a_failure_is_an_error_of_the_output(client: LangGraphClient) -> None:
    async with asyncio.timeout(SECS), opened(client, "failing") as thread:
        await thread.run.start(input={"text": "a"})
        with pytest.raises(RuntimeError, match="the node failed on purpose"):
            await thread.output


async def test_several_projections_share_one_stream(client: LangGraphClient) -> None:
    async with asyncio.timeout(SECS), opened(client, "steps") as thread:
        await thread.run.start(input={"text": "a"})
        channels = ["updates", "checkpoints", "tasks"]
        told = [item async for item in thread.interleave_projections(channels)]
        assert [item for channel, item in told if channel == "updates"] == [
            {"first": {"text": "A", "steps": ["first"]}},
            {"second": {"text": "A!", "steps": ["second"]}},
        ]
        assert [item["step"] for channel, item in told if channel == "checkpoints"] == [-1, 0, 1, 2]
        assert [item["name"] for channel, item in told if channel == "tasks"] == ["first"] * 2 + [
            "second"
        ] * 2


# Frames.


async def test_each_event_has_its_place(api_url: str) -> None:
    thread = await start(api_url, "parent", {"text": "a"})
    told = await everything(api_url, thread)
    assert [event["type"] for event in told] == ["event"] * len(told)
    seqs = [event["seq"] for event in told]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] < 2**53
    assert len({event["event_id"] for event in told}) == len(told)
    assert await everything(api_url, thread) == told


async def test_a_checkpoint_comes_before_the_values_that_it_holds(api_url: str) -> None:
    told = await everything(
        api_url, await start(api_url, "steps", {"text": "a"}), channels=["values", "checkpoints", "lifecycle"]
    )
    names = [event["method"] for event in told]
    assert names[1:-1] == [
        "checkpoints",
        "checkpoints",
        "values",
        "checkpoints",
        "values",
        "checkpoints",
        "values",
    ]


async def test_lifecycle_tells_of_the_run_and_its_subgraphs(api_url: str) -> None:
    told = await everything(api_url, await start(api_url, "parent", {"text": "a"}), channels=["lifecycle"])
    assert [(event["params"]["data"]["event"], event["params"]["data"]["graph_name"]) for event in told] == [
        ("running", "parent"),
        ("started", "child"),
        ("completed", "child"),
        ("completed", "parent"),
    ]


async def test_a_message_that_came_whole_is_told_in_steps(api_url: str) -> None:
    told = await everything(api_url, await start(api_url, "saying", SAID), channels=["messages", "lifecycle"])
    steps = of(told, "messages")
    assert [step["event"] for step in steps] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]
    assert (steps[0]["id"], steps[3]["content"]["text"]) == ("whole", "all at once")


async def test_what_a_graph_writes_is_a_payload(api_url: str) -> None:
    thread = await start(api_url, "extended", SAID)
    custom = of(await everything(api_url, thread), "custom")
    assert custom == [
        {"payload": {"half": "way"}},
        {"name": "progress", "payload": 1},
        {"name": "steps", "payload": {"nodes": ["report"]}},
    ]
    one = await everything(api_url, thread, channels=["custom:progress", "lifecycle"])
    assert of(one, "custom") == [{"name": "progress", "payload": 1}]


async def test_namespaces_choose_where_events_come_from(api_url: str) -> None:
    thread = await start(api_url, "parent", {"text": "a"})
    told = await everything(api_url, thread)
    async with streamed(api_url, thread, channels=["values"], namespaces=[["child"]], depth=0) as events:
        below = [await anext(events) for _ in range(3)]
    assert below == [event for event in told if event["method"] == "values" and event["params"]["namespace"]]
    root = await everything(api_url, thread, channels=["values", "lifecycle"], namespaces=[[]], depth=0)
    assert root == [
        e for e in told if e["method"] in ("values", "lifecycle") and not e["params"]["namespace"]
    ]


async def test_it_goes_on_after_any_event_on_any_server(api: Service, other_api: Service) -> None:
    thread = await start(api.url, "emitting", {"count": 60, "gap": 0.002})
    await start(api.url, "approval", {"text": "a"}, thread)
    told: list[Event] = []
    urls = [api.url, other_api.url]
    async with asyncio.timeout(SECS):
        while sum(map(ended, told)) < 2:
            urls.reverse()
            since = told[-1]["seq"] if told else 0
            async with streamed(urls[0], thread, since=since) as events:
                async for event in events:
                    told.append(event)
                    if len(told) % 9 == 0 or sum(map(ended, told)) == 2:
                        break
    assert [item["payload"]["n"] for item in of(told, "custom")] == list(range(60))
    assert told == await everything(other_api.url, thread, runs=2)


# Commands.


async def test_several_questions_are_answered_at_once(api_url: str) -> None:
    thread = await start(api_url, "pair", {"text": "a"})
    asked = of(await everything(api_url, thread), "input.requested")
    assert sorted(question["payload"] for question in asked) == ["left?", "right?"]
    answers: list[Any] = [
        {"namespace": [], "interrupt_id": question["interrupt_id"], "response": question["payload"][0]}
        for question in asked
    ]
    assert (await command(api_url, thread, "input.respond", responses=answers))["type"] == "success"
    told = await everything(api_url, thread, runs=2)
    assert of(told, "values")[-1]["steps"] == ["left:l", "right:r"]
    assert set(of(told, "input.answered")[0]["interrupt_ids"]) == {each["interrupt_id"] for each in asked}


async def test_a_question_within_a_subgraph_is_asked_once(api_url: str) -> None:
    thread = await start(api_url, "nested", {"text": "a"})
    told = await everything(api_url, thread)
    [asked] = [event for event in told if event["method"] == "input.requested"]
    assert asked["params"]["namespace"][0].startswith("child:")
    assert told[-1]["params"]["data"]["event"] == "interrupted"
    answer: dict[str, Any] = {
        "namespace": [],
        "interrupt_id": asked["params"]["data"]["interrupt_id"],
        "response": "yes",
    }
    await command(api_url, thread, "input.respond", **answer)
    assert of(await everything(api_url, thread, runs=2), "values")[-1]["text"] == "a:yes"
    again = await command(api_url, thread, "input.respond", **answer)
    assert again["error"] == "no_such_interrupt"


async def test_the_state_can_be_read_and_forked(api_url: str) -> None:
    thread = await start(api_url, "steps", {"text": "a"})
    await everything(api_url, thread)
    state = (await command(api_url, thread, "state.get", namespace=[], keys=["text"]))["result"]
    assert state["values"] == {"text": "A!"}
    listed = (await command(api_url, thread, "state.listCheckpoints"))["result"]["checkpoints"]
    assert listed[0]["id"] == state["checkpoint"]["id"]
    assert [checkpoint["step"] for checkpoint in listed] == [2, 1, 0, -1]
    fork = (await command(api_url, thread, "state.fork", checkpoint_id=listed[1]["id"]))["result"]
    assert fork["thread_id"] == thread
    assert [each["steps"] for each in of(await everything(api_url, thread, runs=2), "values")][-1] == [
        "first",
        "second",
    ]
    tree = (await command(api_url, thread, "agent.getTree"))["result"]["tree"]
    assert tree == {"namespace": [], "status": "completed", "graph_name": "steps"}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nope", {}, "unknown_command"),
        ("run.start", {}, "invalid_argument"),
        ("run.start", {"assistant_id": "nope"}, "invalid_argument"),
        ("run.start", {"assistant_id": "steps", "multitask_strategy": "nope"}, "invalid_argument"),
        ("input.respond", {}, "invalid_argument"),
        ("input.respond", {"responses": []}, "invalid_argument"),
        ("input.respond", {"interrupt_id": "x", "response": 1}, "no_such_run"),
        ("input.inject", {"namespace": [], "message": {}}, "not_supported"),
        ("subscription.subscribe", {"channels": ["values"]}, "not_supported"),
        ("agent.getTree", {}, "no_such_run"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_says_why(
    api_url: str, method: str, params: Any, code: str
) -> None:
    answer = await command(api_url, str(uuid4()), method, **params)
    assert (answer["type"], answer["error"]) == ("error", code)
    assert answer["message"]


NO_COMMANDS: list[tuple[Any, int]] = [({}, 400), ({"id": "x", "method": "run.start"}, 400), ([], 400)]
NO_FILTERS: list[Any] = [
    {},
    {"channels": []},
    {"channels": ["nope"]},
    {"channels": ["values"], "since": -1},
    {"channels": ["values"], "namespaces": ["x"]},
]


async def test_what_is_no_command_or_filter_is_refused(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url) as http:
        for body, status in NO_COMMANDS:
            answer = await http.post(f"/threads/{uuid4()}/commands", json=body)
            assert answer.status_code == status
        for body in NO_FILTERS:
            answer = await http.post(f"/threads/{uuid4()}/stream/events", json=body)
            assert answer.status_code == 422
        assert (await http.post("/threads/nope/commands", json={"id": 1, "method": "x"})).status_code == 422


# Old and new side by side.


async def test_runs_of_the_older_endpoints_are_told_too(client: LangGraphClient, api_url: str) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "approval", input={"text": "a"})
    told = await everything(api_url, thread)
    assert [event["method"] for event in told] == ["lifecycle", "values", "input.requested", "lifecycle"]
    asked = of(told, "input.requested")[0]
    await command(api_url, thread, "input.respond", interrupt_id=asked["interrupt_id"], response="yes")
    assert of(await everything(api_url, thread, runs=2), "values")[-1]["text"] == "a:yes"


async def test_the_older_endpoints_tell_of_the_protocols_runs(client: LangGraphClient, api_url: str) -> None:
    thread = await start(api_url, "steps", {"text": "a"})
    [run] = await client.runs.list(thread)
    values: list[Any] = [
        part.data
        async for part in client.runs.join_stream(thread, run["run_id"], stream_mode="values")
        if part.event == "values"
    ]
    assert values[-1] == {"text": "A!", "steps": ["first", "second"]}


# The websocket.


@asynccontextmanager
async def socket(url: str, thread: str) -> AsyncGenerator[ClientConnection]:
    async with connect(f"ws{url.removeprefix('http')}/threads/{thread}/stream/events") as connection:
        yield connection


async def say(connection: ClientConnection, method: str, **params: Any) -> None:
    await connection.send(json.dumps({"id": 7, "method": method, "params": params}))


async def heard(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SECS):
        return json.loads(await connection.recv())


async def test_a_websocket_takes_commands_and_tells_events(api_url: str) -> None:
    async with socket(api_url, str(uuid4())) as connection:
        await say(connection, "subscription.subscribe", channels=["values"])
        subscription = (await heard(connection))["result"]["subscription_id"]
        await say(connection, "run.start", assistant_id="steps", input={"text": "a"})
        frames = [await heard(connection) for _ in range(4)]
        assert [frame["type"] for frame in frames].count("success") == 1
        assert frames[-1]["params"]["data"]["text"] == "A!"
        await say(connection, "subscription.unsubscribe", subscription_id=subscription)
        assert (await heard(connection))["result"] == {}
        await say(connection, "subscription.unsubscribe", subscription_id=subscription)
        assert (await heard(connection))["error"] == "no_such_subscription"
        await say(connection, "subscription.subscribe", channels=["lifecycle"], since=frames[-1]["seq"])
        assert (await heard(connection))["type"] == "success"
        assert (await heard(connection))["params"]["data"]["event"] == "completed"


async def test_a_websocket_answers_nonsense(api_url: str) -> None:
    async with socket(api_url, str(uuid4())) as connection:
        for frame, command_id in (("nonsense", None), ("[]", None), ('{"id": 3}', 3)):
            await connection.send(frame)
            answer = await heard(connection)
            assert (answer["type"], answer["id"], answer["error"]) == (
                "error",
                command_id,
                "invalid_argument",
            )
        await say(connection, "subscription.subscribe", channels=["nope"])
        assert (await heard(connection))["error"] == "invalid_argument"
    async with socket(api_url, "nope") as connection:
        await connection.wait_closed()
        assert connection.close_code == 4422


async def test_a_slow_reader_gets_everything(api_url: str) -> None:
    thread = await start(api_url, "emitting", {"count": 20_000, "burst": 500})
    async with socket(api_url, thread) as connection:
        await say(connection, "subscription.subscribe", channels=["custom", "lifecycle"])
        assert (await heard(connection))["type"] == "success"
        assert await client_waits(api_url, thread) == "success"
        told: list[Event] = []
        while not (told and ended(told[-1])):
            told.append(await heard(connection))
    assert [item["payload"]["n"] for item in of(told, "custom")] == list(range(20_000))


async def client_waits(url: str, thread: str) -> str:
    """Until the thread's run has ended, which it does whether its events are read or not."""
    async with httpx.AsyncClient(base_url=url, timeout=SECS) as http:
        [run] = (await http.get(f"/threads/{thread}/runs")).json()
        await http.get(f"/threads/{thread}/runs/{run['run_id']}/join")
        return (await http.get(f"/threads/{thread}/runs/{run['run_id']}")).json()["status"]


async def test_a_run_whose_worker_was_killed_goes_on_with_the_next_attempt(tmp_path: Path) -> None:
    """The broken step starts again; places grow on, so that a client is told each event once, on whichever API."""
    gate = tmp_path / "gate"
    async with running_stack("api", "api", "worker", "scheduler", TREADLE_LEASE_SECS="3") as stack:
        one, other = [service.url for service in stack.services("api")]
        [victim] = stack.services("worker")
        thread = await start(one, "counting", {"count": 20, "gate": str(gate)})
        async with streamed(one, thread) as events:
            told = await until_counted(events, ("second", 19))
        await victim.kill()
        await stack.worker()
        gate.touch()
        async with streamed(other, thread, since=told[-1]["seq"]) as events:
            told += await until(events)
        again = await everything(one, thread)

    places = [event["seq"] for event in told]
    assert places == sorted(set(places))
    assert told == again
    assert [data["event"] for data in of(told, "lifecycle")] == ["running", "running", "completed"]
    steps = ("first", "second", "second", "third")
    assert counted(told) == [(step, n) for step in steps for n in range(20)]


def counted(events: list[Event]) -> list[tuple[str, int]]:
    return [(data["payload"]["step"], data["payload"]["n"]) for data in of(events, "custom")]


async def until_counted(events: AsyncIterator[Event], last: tuple[str, int]) -> list[Event]:
    """Events up to what the graph `counting` counts last."""
    told: list[Event] = []
    async with asyncio.timeout(SECS):
        async for event in events:
            told.append(event)
            if counted([event]) == [last]:
                return told
    raise AssertionError(f"the stream ended early: {told}")
