"""The one tree of errors that Treadle raises.

Each error says what happened, to what, and what the user can do. `status` is the HTTP status that the
API answers with; the mapping lives here so that no route needs to know it.
"""

from __future__ import annotations

from typing import cast


class TreadleError(Exception):
    """Base of every error that Treadle raises on purpose."""

    status = 500
    retry_after_secs: int | None = None
    """When it is worth asking again; None: not by itself."""


class ConfigError(TreadleError):
    """A setting, langgraph.json or a graph cannot be used; the message names it and the way out."""


class InvalidRequest(TreadleError):
    """A value that a client sent cannot be used; the message names the field."""

    status = 422


class Unauthorized(TreadleError):
    """A request does not prove who sends it; the message says what is wrong with the proof, and the way out."""

    status = 401


class Forbidden(TreadleError):
    """Whoever sends the request may not do this; the message says who may."""

    status = 403


class NotFound(TreadleError):
    """The thing that the request names does not exist."""

    status = 404


class Conflict(TreadleError):
    """The request contradicts the present state of the thing that it names."""

    status = 409


class StillRunning(TreadleError):
    """A result was waited for as long as the request allowed; the run goes on, and can be asked for again."""

    status = 408


class TooSlow(TreadleError):
    """A request was begun, and the rest of it did not come in time; it can be sent again."""

    status = 408


class TooLarge(TreadleError):
    """A request or its answer is larger than the way that it goes lets through; the message says which way does."""

    status = 413


class NotSerializable(TreadleError):
    """A graph put something into its state that no checkpoint can hold; the message names the channel."""

    status = 422


class EncryptionFailed(TreadleError):
    """What is kept encrypted could not be encrypted or read; the message names the setting."""


class PriorityFailed(TreadleError):
    """The function of langgraph.json that says which runs go first failed, or returned what is no priority."""


class Unreadable(TreadleError):
    """Postgres holds a value that is not read: in a format that is not allowed, or broken. The message says which."""


class Fenced(TreadleError):
    """A write of a run was refused: the run belongs to a newer attempt, or has ended."""

    status = 409


class Unavailable(TreadleError):
    """A server that the request needs cannot be reached now; trying again later may help."""

    status = 503
    retry_after_secs = 1


class Overloaded(Unavailable):
    """A limit of this process is reached; the message names it. Its last step was turned away before it did anything."""

    retry_after_secs = 2


class QueueFull(TreadleError):
    """As many runs wait as may; nothing was accepted. The message names the limit."""

    status = 429
    retry_after_secs = 5


class TooManyStreams(TreadleError):
    """A client has as many answers open as it may; nothing was done. The message names the limit."""

    status = 429
    retry_after_secs = 5


class EmbeddingFailed(TreadleError):
    """What turns text into vectors for the store failed, or made vectors of another length than it should."""

    status = 502


def unavailable_in(error: BaseException) -> Unavailable | None:
    """The server that could not be reached behind an error, which others may have wrapped or raised together with theirs."""
    if isinstance(error, Unavailable):
        return error
    behind = [] if error.__cause__ is None else [error.__cause__]
    if isinstance(error, BaseExceptionGroup):
        behind += cast("BaseExceptionGroup[BaseException]", error).exceptions
    return next((found for each in behind if (found := unavailable_in(each)) is not None), None)
