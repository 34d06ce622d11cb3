"""The page about what is kept names every setting that says so."""

from __future__ import annotations

from pathlib import Path

import msgspec

from treadle.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "retention.md"


def test_every_setting_of_how_long_something_is_kept_is_on_the_page() -> None:
    names = [field.name for field in msgspec.structs.fields(Settings)]
    keeping = {name.upper() for name in names if "_keep_" in name or "_ttl_" in name}
    page = PAGE.read_text(encoding="utf-8")
    assert len(keeping) > 4
    assert {name for name in keeping if f"`{name}`" not in page} == set()
