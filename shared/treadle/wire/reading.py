"""Bodies read into their types, with errors that name the field, whichever way a body came."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from treadle.errors import InvalidRequest
from treadle.wire.limits import BodyLimits

T = TypeVar("T")

# The end of what msgspec says of a value that does not fit: where it is.
_PLACE = re.compile(r" - at `\$(?:\.(.+)|(\[.+))`$")


def read_body(data: bytes, kind: type[T], limits: BodyLimits) -> T:
    """A body as its type; numbers and booleans may be given as text, as over HTTP.

    Raises:
        InvalidRequest: it is no JSON, holds too much, or a field cannot be used; the message names it.
    """
    if not data:
        raise InvalidRequest("Invalid JSON in request body: it is empty")
    try:
        value = limits.read(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Invalid JSON in request body: {error}") from None
    try:
        return msgspec.convert(value, kind, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        key = (place[1] or place[2]) if place else ""
        raise InvalidRequest(problem(kind, key, text.split(" - ", maxsplit=1)[0])) from None


def problem(kind: Any, key: str, message: str) -> str:
    """What is wrong with a body, and what would be right.

    Args:
        kind: what the body should be.
        key: where in it; nothing for the whole.
        message: as msgspec has it.
    """
    choices = _choices(kind, key) if message.startswith("Invalid enum value") else ()
    hint = f". Send one of: {', '.join(choices)}" if choices else ""
    return f"{key or 'body'}: {message}{hint}"


def _choices(kind: Any, key: str) -> tuple[str, ...]:
    """What the field of the body could be, if it is one of a few names."""
    if get_origin(kind) is list:
        kind, key = get_args(kind)[0], key.partition(".")[2]
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return ()
    name = key.partition("[")[0].partition(".")[0]
    types = [field.type for field in msgspec.structs.fields(kind) if field.encode_name == name]
    return tuple(choice for annotation in types for choice in _names(annotation))


def _names(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(name) for name in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return list(dict.fromkeys(name for part in get_args(kind) for name in _names(part)))
