"""Tokens as they come, lines as they are complete."""

from __future__ import annotations


class TextFlow:
    """Joins the tokens of messages, several of which may be under way at once, into lines."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, str]] = {}

    @property
    def partial(self) -> list[tuple[str, str]]:
        """Of each message under way: its node and its last, incomplete line."""
        return list(self._open.values())

    def feed(self, message: str, node: str, text: str) -> list[tuple[str, str]]:
        """Take a token; returns the lines that it completes, each with its node."""
        before = self._open.pop(message, (node, ""))[1]
        *complete, rest = (before + text).split("\n")
        if rest:
            self._open[message] = (node, rest)
        return [(node, line) for line in complete]

    def flush(self, node: str | None = None) -> list[tuple[str, str]]:
        """The incomplete lines of a node that has finished, or of all, as they are."""
        ended = {message: line for message, line in self._open.items() if node in {None, line[0]}}
        self._open = {message: line for message, line in self._open.items() if message not in ended}
        return list(ended.values())
