"""/docs: the API's own description as a page, without a byte from elsewhere."""

from __future__ import annotations

from importlib import resources

from litestar import Response, Router, get

PAGE = (resources.files("treadle_api") / "pages" / "docs.html").read_text(encoding="utf-8")


@get("/docs", include_in_schema=False, media_type="text/html")
async def docs() -> Response[str]:
    return Response(PAGE, media_type="text/html")


router = Router("/", route_handlers=[docs])
