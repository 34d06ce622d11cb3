"""The `webhooks` section of langgraph.json: headers with variables, and mistakes that are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treadle.errors import ConfigError
from treadle.graphs.config import Config, read_config
from treadle.graphs.webhooks import filled_headers


def read(folder: Path, webhooks: Any) -> Config:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"a": "./a.py:graph"}, "webhooks": webhooks}), encoding="utf-8")
    return read_config(file)


def test_variables_take_their_places_in_headers(tmp_path: Path) -> None:
    headers = {
        "Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}",
        "X-Two": "${{env.LG_WEBHOOK_A}}-${{ env.LG_WEBHOOK_A }}",
        "X-Plain": "$5 {{}}",
    }
    config = read(tmp_path, {"headers": headers})

    filled = filled_headers(config.path, config.webhooks, {"LG_WEBHOOK_TOKEN": "t", "LG_WEBHOOK_A": "a"})

    assert filled == {"Authorization": "Bearer t", "X-Two": "a-a", "X-Plain": "$5 {{}}"}


def test_the_prefix_can_be_another(tmp_path: Path) -> None:
    config = read(tmp_path, {"env_prefix": "HOOK_", "headers": {"X": "${{ env.HOOK_X }}"}})

    assert filled_headers(config.path, config.webhooks, {"HOOK_X": "x"}) == {"X": "x"}


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    config = read(tmp_path, {"headers": {"X": "${{ env.LG_WEBHOOK_X }}"}})

    with pytest.raises(ConfigError, match=r"`webhooks\.headers\.X` needs LG_WEBHOOK_X, which is not set"):
        filled_headers(config.path, config.webhooks, {})


def test_what_a_variable_holds_cannot_add_a_header_and_is_not_shown(tmp_path: Path) -> None:
    config = read(tmp_path, {"headers": {"X": "${{ env.LG_WEBHOOK_X }}"}})

    with pytest.raises(ConfigError, match="one printable line") as raised:
        filled_headers(config.path, config.webhooks, {"LG_WEBHOOK_X": "hunter2\r\nhost: evil"})

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"headers": {"X": "${{ env.DATABASE_URI }}"}}, "names DATABASE_URI, which does not begin with"),
        ({"headers": {"X": "${{ LG_WEBHOOK_X }}"}}, "write a template as ${{ env.LG_WEBHOOK_NAME }}"),
        ({"headers": {"X Y": "1"}}, "`webhooks.headers.X Y`: it is not a header"),
        ({"headers": {"X": "1\n2"}}, "it is not a header"),
        ({"headers": {"Host": "x"}}, "each delivery has its own"),
        ({"headers": {"Webhook-Signature": "x"}}, "each delivery has its own"),
        ({"headers": {"X": 5}}, "`webhooks.headers[...]`: Expected `str`, got `int`"),
        ({"url": {"allowed_domain": []}}, "`webhooks.url`: Object contains unknown field `allowed_domain`"),
        ({"url": {"allowed_ports": [0]}}, "`webhooks.url.allowed_ports[0]`"),
        ({"urls": {}}, "unknown field `urls`"),
        ({"env_prefix": ""}, "`webhooks.env_prefix`"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, section: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, section)

    assert problem in str(raised.value)
