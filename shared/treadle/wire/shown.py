"""What is kept with a run or a cron, as it is shown: without what is Treadle's own, and without passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from treadle.model import PRIVATE_KWARGS

_PASSWORD = re.compile(r"^([^:/?#]+://[^:/?#@]*):[^/?#]*@")


def shown_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The kwargs of a run, or what a cron makes its runs of."""
    shown = {name: value for name, value in kwargs.items() if name not in PRIVATE_KWARGS}
    if isinstance(url := shown.get("webhook"), str):
        shown["webhook"] = _PASSWORD.sub(r"\1:***@", url)
    return shown
