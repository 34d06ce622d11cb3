"""What the server is, and how it is."""

from __future__ import annotations

from importlib.metadata import version

from litestar import Response, Router, get
from litestar.openapi import ResponseSpec

from treadle.graphs.http import Http
from treadle.telemetry.metrics import CONTENT_TYPE
from treadle_api.operations.health import HealthCheck
from treadle_api.views.system import Health, Info

UNHEALTHY = ResponseSpec(Health, description="With `check_db`: what cannot be reached.")
UP = Health(ok=True, services={})


@get("/", include_in_schema=False)
async def root() -> Health:
    return UP


@get(["/", "/ok"])
async def plain_ok() -> Health:
    return UP


@get(
    "/ok",
    responses={503: UNHEALTHY},
    summary="Whether the server answers, and with check_db what it depends on",
)
async def ok(health: HealthCheck, check_db: bool = False) -> Response[Health]:
    if not check_db:
        return Response(UP)
    services = await health.check()
    healthy = all(state == "ok" for state in services.values())
    return Response(Health(ok=healthy, services=services), status_code=200 if healthy else 503)


@get("/info", summary="Versions, and which parts of the protocol are served")
async def info(http: Http) -> Info:
    return Info(
        version=version("treadle"),
        langgraph_py_version=version("langgraph"),
        flags={
            "assistants": not http.disable_assistants,
            "crons": True,
            "langsmith": False,
            "strict_resume": True,
        },
    )


@get("/metrics", summary="Metrics as Prometheus text", media_type="text/plain")
async def metrics(health: HealthCheck) -> Response[bytes]:
    return Response(await health.metrics(), headers={"content-type": CONTENT_TYPE})


router = Router("/", route_handlers=[root, ok, info, metrics], tags=["system"])
# What is left of it with `disable_meta`: enough for a probe.
bare = Router("/", route_handlers=[plain_ok], include_in_schema=False)
