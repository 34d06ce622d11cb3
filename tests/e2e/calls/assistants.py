"""Every call of the assistants client."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.calls.sdk import TRANSPORT, Sdk


async def create(sdk: Sdk) -> None:
    wanted = str(uuid4())
    given: dict[str, Any] = {
        "config": {"tags": ["a"], "recursion_limit": 7, "configurable": {}},
        "context": {"user": "Ada"},
        "metadata": {"mark": sdk.mark},
        "assistant_id": wanted,
        "name": f"name-{sdk.mark}",
        "description": "made by a test",
    }
    made = await sdk.assistants.create("contextual", **given, **TRANSPORT)
    assert made["assistant_id"] == wanted
    assert {name: made[name] for name in ("context", "name", "description")} == {
        name: given[name] for name in ("context", "name", "description")
    }
    again = await sdk.assistants.create("contextual", assistant_id=wanted, if_exists="do_nothing")
    assert again["name"] == made["name"]
    greeted = await sdk.runs.wait(None, wanted, input={"text": ""})
    assert greeted["text"] == "-:Ada"


async def get(sdk: Sdk) -> None:
    made = await _made(sdk)
    assert await sdk.assistants.get(made["assistant_id"], **TRANSPORT) == made


async def update(sdk: Sdk) -> None:
    made = await _made(sdk)
    changed = await sdk.assistants.update(
        made["assistant_id"],
        graph_id="contextual",
        config={"tags": ["b"]},
        context={"user": "Bea"},
        metadata={"more": 1},
        name="another name",
        description="another description",
        **TRANSPORT,
    )
    assert (changed["version"], changed["context"]) == (2, {"user": "Bea"})
    assert (changed["name"], changed["description"]) == ("another name", "another description")


async def delete(sdk: Sdk) -> None:
    made = await _made(sdk)
    thread = await sdk.ran(made["assistant_id"])
    await sdk.assistants.delete(made["assistant_id"], delete_threads=True, **TRANSPORT)
    assert await sdk.assistants.search(metadata={"mark": sdk.mark}) == []
    assert await sdk.threads.search(ids=[thread]) == []


async def search(sdk: Sdk) -> None:
    made = [await _made(sdk, name=f"{n}-{sdk.mark}") for n in range(3)]
    mine: dict[str, Any] = {"metadata": {"mark": sdk.mark}, "graph_id": "contextual", "name": sdk.mark}
    found = await sdk.assistants.search(
        **mine, limit=2, offset=1, sort_by="name", sort_order="desc", select=["name"], **TRANSPORT
    )
    assert found == [{"name": each["name"]} for each in (made[1], made[0])]
    page = await sdk.assistants.search(**mine, limit=2, response_format="object")
    assert (len(page["assistants"]), page["next"]) == (2, "2")


async def count(sdk: Sdk) -> None:
    await _made(sdk)
    mine: dict[str, Any] = {"metadata": {"mark": sdk.mark}, "graph_id": "contextual", "name": sdk.mark}
    assert await sdk.assistants.count(**mine, **TRANSPORT) == 1


async def get_versions(sdk: Sdk) -> None:
    made = await _made(sdk)
    await sdk.assistants.update(made["assistant_id"], metadata={"second": True})
    await sdk.assistants.update(made["assistant_id"], metadata={"third": True})
    versions = await sdk.assistants.get_versions(made["assistant_id"], limit=2, offset=1, **TRANSPORT)
    assert [version["version"] for version in versions] == [2, 1]
    [second] = await sdk.assistants.get_versions(made["assistant_id"], metadata={"second": True}, limit=1)
    assert second["metadata"]["second"] is True


async def set_latest(sdk: Sdk) -> None:
    made = await _made(sdk)
    await sdk.assistants.update(made["assistant_id"], context={"user": "Bea"})
    back = await sdk.assistants.set_latest(made["assistant_id"], 1, **TRANSPORT)
    assert (back["version"], back["context"]) == (1, made["context"])


async def get_graph(sdk: Sdk) -> None:
    made = await _made(sdk, graph="parent")
    plain = await sdk.assistants.get_graph(made["assistant_id"], **TRANSPORT)
    deep = await sdk.assistants.get_graph(made["assistant_id"], xray=True)
    assert await sdk.assistants.get_graph(made["assistant_id"], xray=1) == deep
    assert len(deep["nodes"]) > len(plain["nodes"])


async def get_schemas(sdk: Sdk) -> None:
    made = await _made(sdk)
    schemas = await sdk.assistants.get_schemas(made["assistant_id"], **TRANSPORT)
    assert schemas["graph_id"] == "contextual"
    assert "text" in schemas["input_schema"]["properties"]


async def get_subgraphs(sdk: Sdk) -> None:
    made = await _made(sdk, graph="deep")
    all_of_them = await sdk.assistants.get_subgraphs(made["assistant_id"], recurse=True, **TRANSPORT)
    assert {"left", "left|inside", "right", "right|inside"} == all_of_them.keys()
    one = await sdk.assistants.get_subgraphs(made["assistant_id"], namespace="left")
    assert one.keys() == {"left"}


async def _made(sdk: Sdk, graph: str = "contextual", name: str | None = None) -> Any:
    return await sdk.assistants.create(
        graph, metadata={"mark": sdk.mark}, name=name or sdk.mark, context={"user": "Ada"}
    )
