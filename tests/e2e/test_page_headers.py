"""What browsers are told of answers: to guess nothing, to frame nothing, to run nothing but what a page came with."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

import httpx
import pytest

from treadle_api.html import policy


def digest(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def directives(answer: httpx.Response) -> dict[str, str]:
    """A content security policy by its directives."""
    parts = [part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts}


async def test_the_docs_may_do_what_they_do_and_nothing_else(http: httpx.AsyncClient) -> None:
    answer = await http.get("/docs")
    [script], [style] = (
        re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.S) for kind in ("script", "style")
    )
    assert directives(answer) == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
    }
    assert (answer.headers["x-frame-options"], answer.headers["referrer-policy"]) == ("DENY", "no-referrer")
    assert answer.headers["content-type"].startswith("text/html")


async def test_the_docs_need_nothing_that_their_policy_keeps_out(http: httpx.AsyncClient) -> None:
    """Scripts and styles outside of the two elements, and whatever is loaded from elsewhere."""
    text = (await http.get("/docs")).text
    assert not re.findall(r"<(?:script|style|link|img|iframe|base|form|object)[\s/]", text)
    assert not re.findall(r"""\s(?:on\w+|style|src|action)\s*=\s*["']""", text)
    assert re.findall(r"fetch\(\"([^\"]*)\"", text) == ["openapi.json"]
    assert "eval(" not in text
    assert "new Function" not in text


@pytest.mark.parametrize("path", ["/docs", "/ok", "/openapi.json", "/threads/none", "/nowhere", "/metrics"])
async def test_no_browser_is_to_guess_what_an_answer_is(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
async def test_no_page_of_another_origin_is_let_in_without_cors_in_langgraph_json(
    http: httpx.AsyncClient, method: str
) -> None:
    asking = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    answer = await http.request(method, "/threads/search", headers=asking, json={})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_page_without_scripts_may_run_none() -> None:
    assert "script-src" not in policy("<p>hello</p>")
    assert policy("<script>a</script><script>b</script>").endswith(f"script-src {digest('a')} {digest('b')}")
