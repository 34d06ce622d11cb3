"""The tools of the agent. A model reads the docstrings: they say when to use a tool, and with what."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from langchain_core.tools import BaseTool, ToolException, tool

from agent.arithmetic import evaluate, show


@tool
def calculator(expression: str) -> str:
    """Compute an arithmetic expression of numbers and + - * / ** ( ), such as "12.5 * (3 + 4)"."""
    try:
        return f"{expression} = {show(evaluate(expression))}"
    except ValueError as error:
        raise ToolException(str(error)) from error
    except ArithmeticError as error:
        raise ToolException(f"{expression} has no value, or one that is too large") from error


@tool
def current_time(place: str) -> str:
    """Tell the date and time in a city ("Tokyo") or in an IANA time zone ("Europe/Lisbon")."""
    zone = _zone_of(place)
    now = datetime.now(ZoneInfo(zone))
    return f"In {place} it is {now:%H:%M on %A, %d %B %Y} ({zone}, UTC{now:%z})"


@tool
def count_words(text: str) -> str:
    """Count the words and the characters of a text."""
    return f"The text has {len(text.split())} words and {len(text)} characters"


def _zone_of(place: str) -> str:
    """The time zone with this name, or the one whose city has it."""
    wanted = re.sub(r"\s+", "_", place.strip()).lower()
    zones = sorted(available_timezones())
    matching = [zone for zone in zones if wanted in (zone.lower(), zone.lower().rpartition("/")[2])]
    if not matching:
        raise ToolException(
            f"I know no time zone for {place}: name a large city, or a zone such as Europe/Lisbon"
        )
    return matching[0]


TOOLS: list[BaseTool] = [calculator, current_time, count_words]
