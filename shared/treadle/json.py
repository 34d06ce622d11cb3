"""JSON as it crosses Treadle's boundaries: fast for what is common, never failing for what is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec

# Deeper values are cut off: they may hold themselves.
DEEPEST = 100
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


# Kin of these is written as what it is kin of, whatever its own methods make of it.
_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)


def _plain(value: Any) -> Any:
    """What msgspec does not know by itself: kin of plain values, pydantic models, named tuples' kin, odd containers, anything."""
    for plain, make in _PLAIN:
        if isinstance(value, plain):
            return make(value)
    dump = cast("Callable[[], Any] | None", getattr(value, "model_dump", None))
    if callable(dump):
        return dump()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    for name in ("to_dict", "_asdict", "tolist", "dict"):
        method = cast("Callable[[], Any] | None", getattr(value, name, None))
        if callable(method) and not isinstance(value, type):
            return method()
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": str(value)}
    return list(cast("Iterable[Any]", value)) if isinstance(value, Iterable) else repr(value)


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """JSON bytes of any value that a graph may hold; half surrogates are replaced, unknown objects shown by repr."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, AttributeError, RecursionError):
        return _encoder.encode(_cleaned(value))


def _cleaned(value: Any, depth: int = 0) -> Any:
    """The same value with strings that UTF-8 can hold, keys that JSON can hold, and an end."""
    if depth > DEEPEST:
        return "..."
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {_cleaned(str(key)): _cleaned(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(item, depth + 1) for item in cast("list[Any]", value)]
    return _cleaned(_simpler(value), depth + 1)


def _simpler(value: Any) -> Any:
    """An object as what it consists of, or as its repr."""
    for simplify in (_builtins, _plain):
        try:
            return simplify(value)
        except (TypeError, ValueError, AttributeError, RecursionError):
            continue
    return repr(value)


def _builtins(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=_plain, str_keys=True)


def decode(data: bytes | str) -> Any:
    """Raises msgspec.DecodeError where the text is not JSON."""
    return _decoder.decode(data)


def text(value: Any) -> str:
    """JSON text for a Postgres `json` column, which keeps every character."""
    return encode(value).decode()


def jsonb_text(data: bytes) -> str:
    """JSON bytes as text for a `jsonb` column, which cannot hold NUL: it is left out."""
    if b"\\u0000" in data:
        data = _ESCAPED_NUL.sub(rb"\1", data)
    return data.decode()
