"""Values on the command line: JSON in place, from a file or from stdin; and addresses."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import click


@dataclass(frozen=True)
class Given:
    """A value that was given: tells `null` from an option that is absent."""

    value: Any


class Json(click.ParamType[Given]):
    """`{"a": 1}`, `@file.json`, or `-` for stdin.

    Args:
        needs_object: refuse what is not a JSON object.
    """

    name = "JSON|@FILE|-"

    def __init__(self, *, needs_object: bool = False) -> None:
        self._needs_object = needs_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        if isinstance(value, Given):
            return value
        text = self._text(value, param, ctx)
        try:
            decoded = json.loads(text)
        except ValueError as error:
            self.fail(f"{_source(value)} is not JSON: {error}. {_hint(param)}", param, ctx)
        if self._needs_object and not isinstance(decoded, dict):
            self.fail(f"{_source(value)} is not a JSON object. {_hint(param)}", param, ctx)
        return Given(decoded)

    def _text(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "-":
            return sys.stdin.read()
        if not value.startswith("@"):
            return value
        try:
            return Path(value[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self.fail(
                f"the file {value[1:]!r} cannot be read: {why}. Name a JSON file after the @.", param, ctx
            )


def _source(value: str) -> str:
    if value == "-":
        return "what came on stdin"
    return f"the file {value[1:]!r}" if value.startswith("@") else repr(value)


def _hint(param: click.Parameter | None) -> str:
    option = param.opts[0] if param else "the option"
    return f'Quote it for the shell, as in {option} \'{{"key": "value"}}\', or keep it in a file: {option} @file.'


class ServerUrl(click.ParamType[str]):
    """The address of a server: http(s), a host, perhaps a port and a path."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parts = urlsplit(str(value))
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number
            usable = False
        if not usable:
            self.fail(f"{value!r} is no address of a server. Write it as http://127.0.0.1:2024.", param, ctx)
        return str(value).rstrip("/")


class ThreadId(click.ParamType[str]):
    """The id of a thread."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(UUID(value))
        except ValueError:
            self.fail(
                f"{value!r} is not a thread id (a UUID). `treadle run` says the id of the thread at the end of a "
                "run; leave the option out to begin a new thread.",
                param,
                ctx,
            )


class CronId(click.ParamType[str]):
    """The id of a cron."""

    name = "CRON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(UUID(value))
        except ValueError:
            self.fail(
                f"{value!r} is not the id of a cron (a UUID). `treadle cron list` shows the ids.", param, ctx
            )
