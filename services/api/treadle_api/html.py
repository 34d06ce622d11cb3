"""Pages for people, with headers that keep a browser from doing anything with them that they do not do themselves."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from litestar import Response

INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
# Nobody's frame, no address in a Referer, nothing from elsewhere, and of what stands in the page itself only what we wrote.
HEADERS = {"x-frame-options": "DENY", "referrer-policy": "no-referrer"}
POLICY = "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(text: str) -> Response[str]:
    """A page whose scripts and styles all stand in it, in elements without attributes."""
    return Response(
        text, media_type="text/html", headers={**HEADERS, "content-security-policy": policy(text)}
    )


def policy(text: str) -> str:
    """The content security policy of a page: it may run the scripts and styles that it has, by their digests."""
    allowed: dict[str, list[str]] = {}
    for kind, content in INLINE.findall(text):
        digest = b64encode(sha256(content.encode()).digest()).decode()
        allowed.setdefault(kind, []).append(f"'sha256-{digest}'")
    return "; ".join([POLICY, *(f"{kind}-src {' '.join(digests)}" for kind, digests in allowed.items())])
