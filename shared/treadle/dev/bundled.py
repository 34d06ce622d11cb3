"""The examples that come with Treadle."""

from __future__ import annotations

from pathlib import Path

import treadle
from treadle.errors import ConfigError


def examples_config() -> Path:
    """The langgraph.json of the examples: inside an installed wheel, or in the checkout.

    Raises:
        ConfigError: this installation has no examples.
    """
    package = Path(treadle.__file__).resolve().parent
    places = (package / "bundled" / "examples", package.parents[1] / "examples")
    for place in places:
        if (place / "langgraph.json").is_file():
            return place / "langgraph.json"
    raise ConfigError(
        "There is no langgraph.json in this directory, and this installation of treadle has no examples. "
        "Name a langgraph.json with --config."
    )
