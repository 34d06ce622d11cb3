"""The rules by which the rule-based model calls the agent's tools."""

import re

from agent.rule_based import Rule

OPERAND = r"\(*-?\d+(?:\.\d+)?\)*"

RULES = [
    # "What is 12.5 * (3 + 4)?"
    Rule(
        "calculator", re.compile(rf"(?<![\w.])(?P<expression>{OPERAND}(?:\s*(?:\*\*|[-+*/])\s*{OPERAND})+)")
    ),
    # "What time is it in New York and in Europe/Lisbon?"
    Rule(
        "current_time",
        re.compile(r"\bin (?P<place>(?!the\b|an?\b)[A-Za-z][\w/+-]*(?: [A-Z][\w/+-]*)*)"),
        topic=re.compile(r"\b(?:time|date|day)\b", re.IGNORECASE),
    ),
    # 'How many words are in "to be or not to be"?'
    Rule("count_words", re.compile(r'"(?P<text>[^"]+)"'), topic=re.compile(r"\bwords?\b", re.IGNORECASE)),
]
