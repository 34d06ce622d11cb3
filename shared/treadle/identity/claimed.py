"""A request must not say itself who asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from treadle.errors import InvalidRequest
from treadle.identity.header import HEADER
from treadle.identity.user import PREFIX
from treadle.wire.runs import RunFields


def refuse_claimed_identity(body: RunFields) -> None:
    """Refuse a run whose body names what only the server may say.

    Raises:
        InvalidRequest: names the key.
    """
    for place, given in _places(body):
        for key in given or {}:
            if key.lower().startswith(PREFIX):
                raise InvalidRequest(
                    f"{place}.{key}: who asks is not said in the body, which anybody can write: names that begin "
                    f"with `{PREFIX}` are the server's own. Sign the header `{HEADER}` instead; see docs/nats.md."
                )


def _places(body: RunFields) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Where what a request says reaches the config of its run."""
    yield "context", body.context
    yield "metadata", body.metadata
    if body.config is not None:
        yield "config.configurable", body.config.configurable
        yield "config.metadata", body.config.metadata
