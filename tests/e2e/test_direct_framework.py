"""What tools of the micro-service framework see of the service `treadle` on NATS, and what Prometheus sees of it."""

from __future__ import annotations

import json

import httpx
import jsonschema
import pytest
from langgraph_sdk.client import LangGraphClient
from nats.micro.service import (
    INFO_RESPONSE_TYPE,
    PING_RESPONSE_TYPE,
    STATS_RESPONSE_TYPE,
    ServiceInfo,
    ServicePing,
    ServiceStats,
)

from tests.e2e.direct import NOBODY, Bus, ref
from tests.e2e.steps import new_thread

ENDPOINTS = ("create", "wait", "get", "join", "cancel")


async def test_tools_of_the_framework_find_the_service(bus: Bus) -> None:
    pings, infos = await bus.control("PING"), await bus.control("INFO")
    before = await bus.stats("runs-wait")
    # As the framework itself reads them; its command line wants every `data` to be an object.
    for ping, info in zip(pings, infos, strict=True):
        assert ServicePing.from_dict(ping).type == PING_RESPONSE_TYPE
        assert ServiceInfo.from_dict(info).type == INFO_RESPONSE_TYPE
        assert (info["name"], info["version"], info["id"]) == ("treadle", ping["version"], ping["id"])
        assert [each["subject"] for each in info["endpoints"]] == [
            f"treadle.api.runs.{name}" for name in ENDPOINTS
        ]

    await bus.done("wait", {"assistant_id": "slow", "input": {"delay": 0.2}})
    await bus.refused("wait", {})

    for each in await bus.control("STATS"):
        assert ServiceStats.from_dict(each).type == STATS_RESPONSE_TYPE
    after = await bus.stats("runs-wait")
    assert after["num_requests"] - before["num_requests"] == 2
    assert after["num_errors"] - before["num_errors"] == 1
    assert after["processing_time"] - before["processing_time"] > 200_000_000
    assert "422:body: Object missing required field `assistant_id`" in after["last_errors"]
    assert after["in_work"] == 0


async def test_what_an_endpoint_takes_and_gives_is_told_as_json_schemas(
    bus: Bus, client: LangGraphClient
) -> None:
    info, *_ = await bus.control("INFO")
    told = {each["name"]: each["metadata"] for each in info["endpoints"]}
    for metadata in told.values():
        assert metadata["description"]
        for name in ("request_schema", "response_schema"):
            jsonschema.Draft202012Validator.check_schema(json.loads(metadata[name]))

    body = {"assistant_id": "steps", "thread_id": await new_thread(client), "input": {"text": "a"}}
    run = await bus.done("create", body)
    result = await bus.done("join", ref(run))
    exchanges: list[tuple[str, object, object]] = [
        ("runs-create", body, run),
        ("runs-wait", {**body, "timeout_secs": 5}, result),
        ("runs-get", ref(run), run),
        ("runs-join", ref(run), result),
        ("runs-cancel", {**ref(run), "action": "rollback", "wait": True}, {}),
    ]
    for name, request, response in exchanges:
        jsonschema.validate(request, json.loads(told[name]["request_schema"]))
        jsonschema.validate(response, json.loads(told[name]["response_schema"]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"run_id": NOBODY}, json.loads(told["runs-get"]["request_schema"]))


async def test_long_errors_leave_room_for_the_stats(bus: Bus) -> None:
    configurable = {"langgraph_auth_" + "x" * 600_000: 1}
    for endpoint in ("create", "wait"):
        body = {"assistant_id": "steps", "config": {"configurable": configurable}}
        assert (await bus.refused(endpoint, body))["code"] == 422
    assert await bus.control("STATS")


async def test_requests_are_counted_and_timed(bus: Bus, http: httpx.AsyncClient) -> None:
    await bus.refused("get", {})
    metrics = (await http.get("/metrics")).text
    assert 'treadle_direct_request_duration_seconds_count{code="422",endpoint="runs.get"}' in metrics
