"""Which request headers are let through."""

from __future__ import annotations

import pytest

from treadle.graphs.http import HeaderPatterns
from treadle_api.shell.headers import Chosen

HEADERS = [
    (b"X-User-Id", b"7"),
    (b"x-user-secret", b"s"),
    (b"Authorization", b"Bearer t"),
    (b"x-list", b"a"),
    (b"X-List", b"b"),
    (b"x-[1]", b"odd"),
    (b"Treadle-Identity", b"token"),
    (b"langgraph_auth_user_id", b"root"),
]


@pytest.mark.parametrize(
    ("includes", "excludes", "found"),
    [
        ([], [], {}),
        (["x-user-*"], ["*SECRET*"], {"x-user-id": "7"}),
        (["X-USER-ID"], [], {"x-user-id": "7"}),
        (["x-user-id"], ["x-user-id"], {}),
        (["x-list"], [], {"x-list": "a, b"}),
        (["x-[1]"], [], {"x-[1]": "odd"}),
        (["x-us?r-id"], [], {}),
        (["a*"], [], {}),
        (["authorization"], [], {"authorization": "Bearer t"}),
        (["treadle-*", "langgraph_auth_*", "langgraph_auth_user_id"], [], {}),
    ],
)
def test_names_and_stars_let_headers_through(
    includes: list[str], excludes: list[str], found: dict[str, str]
) -> None:
    assert Chosen(HeaderPatterns(includes=includes, excludes=excludes)).of(HEADERS) == found
