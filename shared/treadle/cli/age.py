"""Stretches of time on the command line."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Age(click.ParamType[timedelta]):
    """`90s`, `15m`, `12h`, `7d`.

    Args:
        what: that it is, for errors.
    """

    name = "AGE"

    def __init__(self, what: str = "age") -> None:
        self._what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no {self._what}, such as 90s, 15m, 12h or 7d.", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
