"""/docs: the API's own description as a page, without a byte from elsewhere."""

from __future__ import annotations

from importlib import resources

from litestar import Response, Router, get

from treadle_api.html import page

PAGE = (resources.files("treadle_api") / "pages" / "docs.html").read_text(encoding="utf-8")


@get("/docs", include_in_schema=False, media_type="text/html")
async def docs() -> Response[str]:
    return page(PAGE)


router = Router("/", route_handlers=[docs])
