"""What the server is, and how it is."""

from __future__ import annotations

from importlib.metadata import version

from litestar import Response, Router, get
from litestar.openapi import ResponseSpec

from treadle.telemetry.metrics import CONTENT_TYPE
from treadle_api.operations.health import HealthCheck
from treadle_api.views.system import Health, Info

UNHEALTHY = ResponseSpec(Health, description="With `check_db`: what cannot be reached.")
INFO = Info(
    version=version("treadle"),
    langgraph_py_version=version("langgraph"),
    flags={"assistants": True, "crons": False, "langsmith": False, "strict_resume": True},
)


@get(
    "/ok",
    responses={503: UNHEALTHY},
    summary="Whether the server answers, and with check_db what it depends on",
)
async def ok(health: HealthCheck, check_db: bool = False) -> Response[Health]:
    if not check_db:
        return Response(Health(ok=True, services={}))
    services = await health.check()
    healthy = all(state == "ok" for state in services.values())
    return Response(Health(ok=healthy, services=services), status_code=200 if healthy else 503)


@get("/info", summary="Versions, and which parts of the protocol are served")
async def info() -> Info:
    return INFO


@get("/metrics", summary="Metrics as Prometheus text", media_type="text/plain")
async def metrics(health: HealthCheck) -> Response[bytes]:
    return Response(await health.metrics(), headers={"content-type": CONTENT_TYPE})


router = Router("/", route_handlers=[ok, info, metrics], tags=["system"])
