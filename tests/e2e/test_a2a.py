"""The official client of the Agent-to-Agent protocol talks to assistants, in both versions of the protocol."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientConfig, create_client
from a2a.helpers.proto_helpers import get_artifact_text, get_data_parts, get_message_text, new_data_part
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import Values
from tests.stack import Service, Stack

DOCS = Path(__file__).parents[2] / "docs" / "a2a.md"
VERSIONS = ("1.0", "0.3")
JSON_RPC: Values = {"jsonrpc": "2.0", "id": 1}


async def card_of(url: str, graph: str) -> AgentCard:
    async with httpx.AsyncClient() as http:
        return await A2ACardResolver(http, f"{url}/a2a/{graph}").get_agent_card()


@asynccontextmanager
async def agent(
    url: str, graph: str, version: str = "1.0", *, streaming: bool = False
) -> AsyncGenerator[Client]:
    """The official client, as one that speaks this version of the protocol."""
    card = await card_of(url, graph)
    spoken = [each for each in card.supported_interfaces if each.protocol_version == version]
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(spoken)
    async with httpx.AsyncClient(timeout=60) as http:
        yield await create_client(card, ClientConfig(streaming=streaming, httpx_client=http))


def said(
    text: str, *, task: Task | None = None, context: str = "", parts: list[Part] | None = None
) -> Message:
    """A message; for a task in its context, or in a context of its own."""
    return Message(
        role=Role.ROLE_USER,
        message_id=str(uuid4()),
        parts=parts or [Part(text=text)],
        task_id="" if task is None else task.id,
        context_id=context if task is None else task.context_id,
    )


def given(data: Any, *, task: Task | None = None) -> Message:
    return said("", task=task, parts=[new_data_part(data)])


async def sent(client: Client, message: Message, *, at_once: bool = False) -> Task:
    """What became of a message."""
    configuration = SendMessageConfiguration(return_immediately=at_once)
    request = SendMessageRequest(message=message, configuration=configuration)
    [response] = [each async for each in client.send_message(request)]
    return response.task


def answer(task: Task) -> str:
    [artifact] = task.artifacts
    return get_artifact_text(artifact)


def spoken(task: Task) -> list[tuple[int, str]]:
    return [(message.role, get_message_text(message)) for message in task.history]


async def test_an_assistant_has_a_card(api: Service) -> None:
    card = await card_of(api.url, "chat")

    assert (card.name, card.description) == ("chat", "chat assistant")
    assert card.capabilities.streaming
    assert [each.protocol_version for each in card.supported_interfaces] == ["1.0", "0.3"]
    async with httpx.AsyncClient(base_url=api.url) as http:
        by_query = await http.get("/.well-known/agent-card.json", params={"assistant_id": "chat"})
        by_path = await http.get("/a2a/chat")
    assert by_query.json() == by_path.json()
    assert by_path.json()["url"] == card.supported_interfaces[0].url


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_message_is_answered(api: Service, version: str) -> None:
    async with agent(api.url, "echoing", version) as client:
        task = await sent(client, said("hello"))
        again = await client.get_task(GetTaskRequest(id=task.id))

    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert answer(task) == "You said: hello"
    assert spoken(task) == [(Role.ROLE_USER, "hello"), (Role.ROLE_AGENT, "You said: hello")]
    assert again == task


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_stream_tells_what_is_said_while_it_is_said(api: Service, version: str) -> None:
    async with agent(api.url, "chat", version, streaming=True) as client:
        events = [each async for each in client.send_message(SendMessageRequest(message=said("hello")))]

    first, *working, artifact, last = events
    assert first.task.status.state == TaskState.TASK_STATE_SUBMITTED
    texts = [get_message_text(each.status_update.status.message) for each in working]
    assert texts[-1] == "Hello there friend"
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert get_artifact_text(artifact.artifact_update.artifact) == "Hello there friend"
    assert last.status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_data_is_the_input_of_a_graph(api: Service) -> None:
    async with agent(api.url, "fanout") as client:
        task = await sent(client, given({"numbers": [1, 2]}))

    [artifact] = task.artifacts
    assert sorted(get_data_parts(artifact.parts)[0]["squares"]) == [1, 4]


async def test_the_context_is_a_thread(api: Service, client: LangGraphClient) -> None:
    async with agent(api.url, "echoing") as a2a:
        first = await sent(a2a, said("one"))
        second = await sent(a2a, said("two", context=first.context_id))

    values = cast(Values, (await client.threads.get_state(first.context_id))["values"])
    assert [message["content"] for message in values["messages"]] == [
        "one", "You said: one", "two", "You said: two",
    ]  # fmt: skip
    assert [message.task_id for message in second.history] == [first.id, first.id, second.id, second.id]
    run = second.id.partition(":")[2]
    assert (await client.runs.get(first.context_id, run))["status"] == "success"


async def test_files_are_content_of_a_message(api: Service, client: LangGraphClient) -> None:
    picture = Part(raw=b"PNG", media_type="image/png", filename="a.png")
    async with agent(api.url, "echoing") as a2a:
        task = await sent(a2a, said("", parts=[Part(text="look"), picture]))

    values = cast(Values, (await client.threads.get_state(task.context_id))["values"])
    assert values["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image", "mime_type": "image/png", "base64": "UE5H", "filename": "a.png"},
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_task_asks_and_goes_on_with_the_answer(api: Service, version: str) -> None:
    async with agent(api.url, "greeting", version) as client:
        asked = await sent(client, said("hi"))
        assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert get_message_text(asked.status.message) == "Who are you?"

        told = await sent(client, said("Ann", task=asked))

    assert (told.id, told.status.state) == (asked.id, TaskState.TASK_STATE_COMPLETED)
    assert answer(told) == "Hello Ann"


async def test_a_stream_may_answer_too(api: Service) -> None:
    async with agent(api.url, "greeting") as client:
        asked = await sent(client, said("hi"))
    async with agent(api.url, "greeting", streaming=True) as client:
        request = SendMessageRequest(message=said("Ann", task=asked))
        events = [each async for each in client.send_message(request)]

    assert events[0].task.id == asked.id
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_several_questions_are_answered_by_id(api: Service) -> None:
    async with agent(api.url, "choosing") as client:
        asked = await sent(client, said("hi"))
        questions = {item["value"]: item["id"] for item in get_data_parts(asked.artifacts[0].parts)}
        with pytest.raises(InvalidParamsError, match="asks 2 questions"):
            await sent(client, said("one for both", task=asked))

        resume = [{"id": questions["left?"], "value": 1}, {"id": questions["right?"], "value": "two"}]
        told = await sent(client, given({"resume": resume}, task=asked))

    assert {text for _, text in spoken(told)} == {"hi", "left 1", "right two"}


async def test_a_graph_that_fails_is_a_task_that_failed(api: Service) -> None:
    async with agent(api.url, "failing") as client:
        task = await sent(client, given({"text": "a"}))

    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert get_message_text(task.status.message) == "ValueError: the node failed on purpose"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_task_is_cancelled(api: Service, version: str) -> None:
    async with agent(api.url, "slow", version) as client:
        begun = await sent(client, given({"delay": 60}), at_once=True)
        assert begun.status.state == TaskState.TASK_STATE_SUBMITTED

        cancelled = await client.cancel_task(CancelTaskRequest(id=begun.id))
        assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=begun.id))


async def test_a_task_is_followed_from_any_process(api: Service, other_api: Service) -> None:
    async with agent(api.url, "slow") as client:
        begun = await sent(client, given({"delay": 60}), at_once=True)
    async with agent(other_api.url, "slow", streaming=True) as watcher:
        stream = watcher.subscribe(SubscribeToTaskRequest(id=begun.id))
        assert (await anext(stream)).task.id == begun.id
        # A server that is told to stop does not wait for streams.
        assert await other_api.stop() == 0
    async with agent(api.url, "slow", streaming=True) as watcher:
        stream = watcher.subscribe(SubscribeToTaskRequest(id=begun.id))
        assert (await anext(stream)).task.id == begun.id
        await watcher.cancel_task(CancelTaskRequest(id=begun.id))
        events = [each async for each in stream]
        with pytest.raises(UnsupportedOperationError, match="ended"):
            await anext(watcher.subscribe(SubscribeToTaskRequest(id=begun.id)))

    assert events[-1].status_update.status.state == TaskState.TASK_STATE_CANCELED


async def test_tasks_are_listed_page_by_page(api: Service, client: LangGraphClient) -> None:
    mine = (await client.assistants.create("greeting", name="listed"))["assistant_id"]
    async with agent(api.url, mine) as a2a:
        tasks = [await sent(a2a, said(str(number))) for number in range(3)]
        done = await sent(a2a, said("Ann", task=tasks[0]))
        one = await a2a.list_tasks(ListTasksRequest(page_size=2))
        two = await a2a.list_tasks(ListTasksRequest(page_size=2, page_token=one.next_page_token))
        asking = await a2a.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_INPUT_REQUIRED))
        alone = await a2a.list_tasks(ListTasksRequest(context_id=done.context_id))

    assert [task.id for task in one.tasks] == [done.id, tasks[2].id]
    assert (one.total_size, two.next_page_token) == (3, "")
    assert [task.id for task in two.tasks] == [tasks[1].id]
    assert [task.id for task in asking.tasks] == [tasks[2].id, tasks[1].id]
    assert [(task.id, task.status.state) for task in alone.tasks] == [
        (done.id, TaskState.TASK_STATE_COMPLETED)
    ]


async def test_what_cannot_be_asked_for_is_refused(api: Service) -> None:
    async with agent(api.url, "echoing") as client:
        done = await sent(client, said("one"))
        with pytest.raises(UnsupportedOperationError, match="terminal"):
            await sent(client, said("two", task=done))
        with pytest.raises(InvalidParamsError, match="contextId"):
            await sent(client, said("two", context="nonsense"))
        for unknown in ("nonsense", f"{uuid4()}:{uuid4()}"):
            with pytest.raises(TaskNotFoundError):
                await client.get_task(GetTaskRequest(id=unknown))
    async with agent(api.url, "chat") as stranger:
        with pytest.raises(TaskNotFoundError):
            await stranger.get_task(GetTaskRequest(id=done.id))
    async with agent(api.url, "steps") as client:
        with pytest.raises(InvalidParamsError, match="'messages' field"):
            await sent(client, said("hello"))


async def test_nobody_is_pushed(api: Service) -> None:
    call = {"method": "tasks/pushNotificationConfig/get", "params": {"id": "any"}}
    async with httpx.AsyncClient(base_url=api.url) as http:
        refused = (await http.post("/a2a/chat", json={**JSON_RPC, **call})).json()

    assert refused["error"]["code"] == -32003
    assert "Follow the task" in refused["error"]["message"]


async def test_an_agent_that_is_not_there(api: Service) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        for path in (f"/a2a/{uuid4()}", f"/.well-known/agent-card.json?assistant_id={uuid4()}"):
            assert (await http.get(path)).status_code == 404
        assert "assistant_id" in (await http.get("/.well-known/agent-card.json")).json()["detail"]
        assert (await http.post("/a2a/nobody", json=JSON_RPC)).status_code == 422


async def test_mistakes_of_clients_are_no_news_for_the_log(api: Service) -> None:
    wrong: list[Values] = [
        {},
        {"method": "message/send"},
        {"method": "SendMessage", "params": 5},
        {"method": "tasks/get"},
    ]
    known = len(api.log)
    async with httpx.AsyncClient(base_url=api.url) as http:
        answers = [(await http.post("/a2a/chat", json={**JSON_RPC, **each})).json() for each in wrong]

    assert {answer["error"]["code"] for answer in answers} <= {-32600, -32602}
    assert api.log[known:] == []


async def test_a_card_names_the_address_below_the_mount(stack: Stack) -> None:
    api = await stack.api(MOUNT_PREFIX="/team")
    card = await card_of(f"{api.url}/team", "echoing")
    await api.stop()

    assert {each.url.partition("/a2a/")[0] for each in card.supported_interfaces} == {f"{api.url}/team"}


async def test_a_client_that_hangs_up_leaves_its_task_at_work(api: Service) -> None:
    async with agent(api.url, "slow", streaming=True) as client:
        request = SendMessageRequest(message=given({"delay": 0.3}))
        stream = cast("AsyncGenerator[StreamResponse]", client.send_message(request))
        async with aclosing(stream) as events:
            begun = await anext(events)
    async with agent(api.url, "slow", streaming=True) as client:
        events = [each async for each in client.subscribe(SubscribeToTaskRequest(id=begun.task.id))]

    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_the_documented_client_works(api: Service) -> None:
    page = DOCS.read_text(encoding="utf-8")
    [script] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    script = script.replace("http://127.0.0.1:2024/a2a/agent", f"{api.url}/a2a/greeting")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert process.returncode == 0
    assert out.decode().splitlines()[-1] == "TASK_STATE_INPUT_REQUIRED Who are you?"
