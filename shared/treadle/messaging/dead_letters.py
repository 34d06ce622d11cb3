"""Dead letters: requests that could not be turned into runs, kept on `treadle.deadletters.<source>` for a bounded time.

The body is the request's, unchanged. The headers are the request's too, beside those that say why it is here; of these
the names are below. A header of the request's that would mean something to NATS, or has one of these names, is kept with
`Treadle-Original-` before its name: what JetStream is to do with a dead letter is not what it was to do with the request.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import msgspec
import nats.js.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.js.api import RawStreamMsg, RetentionPolicy, StorageType, StreamConfig

from treadle.messaging.requests import MESSAGE_ID, SOURCE, DurableRequest, again
from treadle.messaging.streams import ensure
from treadle.messaging.subjects import (
    DEAD_LETTERS_STREAM,
    DEAD_LETTERS_SUBJECTS,
    dead_letter_subject,
)

# Why it is here: the detail of an error, on one line, with all but printable ASCII percent-encoded; the HTTP status that
# goes with it; the error's name.
REASON = "Treadle-Reason"
CODE = "Treadle-Code"
ERROR = "Treadle-Error"
# What it was: where it was published and by whom, its name, and when NATS stored it.
SUBJECT = "Treadle-Subject"
SOURCE_NAME = "Treadle-Source"
NAME = "Treadle-Message-Id"
PUBLISHED_AT = "Treadle-Published-At"
ORIGINAL = "Treadle-Original-"
OWN = frozenset(name.lower() for name in (REASON, CODE, ERROR, SUBJECT, SOURCE_NAME, NAME, PUBLISHED_AT))

# A request whose receiver died between writing its dead letter and saying so has one dead letter.
DEDUPLICATION_SECS = 600.0
PUBLISH_TIMEOUT_SECS = 5.0
# In place of a source that cannot be part of a subject.
NO_SOURCE = "invalid"
# In the characters that it is encoded with, each of which may be a twelfth of one that was meant.
LONGEST_REASON = 12_000
# What JetStream keeps of headers.
MOST_HEADER_BYTES = 65_535
PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Refusal(Struct, frozen=True):
    """Why a request came to nothing: an HTTP status, the name of an error, and what is wrong, with what, in words."""

    code: int
    error: str
    reason: str


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A request that came to nothing, with all that it was.

    `sequence` is its place among the dead letters, and `at` when it came there; `message_id` is the request's name,
    `published_at` when NATS stored the request, `headers` what it had.
    """

    sequence: int
    at: datetime
    code: int
    error: str
    reason: str
    source: str
    subject: str
    message_id: str
    published_at: datetime
    headers: dict[str, str]
    body: bytes


class DeadLetters:
    """The stream of dead letters: written by API processes, read by whoever has to do with them.

    Everything raises nats.errors.Error, OSError or TimeoutError when NATS is away, or has no JetStream.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = client.jetstream()

    async def ensure(self, replicas: int, keep_secs: float) -> None:
        """Make the stream, or bring its settings up to date."""
        await ensure(
            self._stream,
            StreamConfig(
                name=DEAD_LETTERS_STREAM,
                subjects=[DEAD_LETTERS_SUBJECTS],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_age=keep_secs,
                duplicate_window=min(DEDUPLICATION_SECS, keep_secs),
                num_replicas=replicas,
            ),
        )

    async def write(self, request: DurableRequest, refusal: Refusal) -> None:
        """Keep a request, once, however often this is said of the same message."""
        source = request.source if SOURCE.fullmatch(request.source) else NO_SOURCE
        own = {
            MESSAGE_ID: request.place,
            REASON: _encoded(refusal.reason),
            CODE: str(refusal.code),
            ERROR: refusal.error,
            SUBJECT: request.subject,
            SOURCE_NAME: source,
            NAME: _encoded(request.message_id),
            PUBLISHED_AT: request.stored_at.isoformat(),
        }
        room = min(self._client.max_payload - len(request.body), MOST_HEADER_BYTES)
        headers = _with_originals(own, request.headers, room)
        await self._stream.publish(
            dead_letter_subject(source), request.body, timeout=PUBLISH_TIMEOUT_SECS, headers=headers
        )

    async def each(self, *, after: int = 0, source: str | None = None) -> AsyncGenerator[DeadLetter]:
        """The dead letters behind a place, oldest first; one at a time is in memory. Of one source, or of all."""
        subject = DEAD_LETTERS_SUBJECTS if source is None else dead_letter_subject(source)
        while (found := await self._message(after + 1, subject)) is not None:
            letter = _read(found)
            yield letter
            after = letter.sequence

    async def newest(self, limit: int, *, source: str | None = None) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        first, upper = await self._bounds()
        found: list[DeadLetter] = []
        reach = limit
        while len(found) < limit and upper > first:
            lower = max(first, upper - reach)
            found = [letter async for letter in self._between(lower, upper, source)] + found
            upper, reach = lower, reach * 2  # there may be gaps
        return found[: -limit - 1 : -1]

    async def last(self) -> int:
        """The place of the newest dead letter that there ever was; 0: there was none."""
        _, upper = await self._bounds()
        return upper - 1

    async def _between(self, lower: int, upper: int, source: str | None) -> AsyncGenerator[DeadLetter]:
        async with aclosing(self.each(after=lower - 1, source=source)) as letters:
            async for letter in letters:
                if letter.sequence >= upper:
                    return
                yield letter

    async def _bounds(self) -> tuple[int, int]:
        """The place of the oldest dead letter, and the one behind the newest."""
        try:
            state = (await self._stream.stream_info(DEAD_LETTERS_STREAM)).state
        except nats.js.errors.NotFoundError:
            return 1, 1
        return max(state.first_seq, 1), state.last_seq + 1

    async def get(self, sequence: int) -> DeadLetter | None:
        """The dead letter at a place."""
        found = await self._message(sequence)
        return None if found is None else _read(found)

    async def delete(self, sequence: int) -> bool:
        """Remove the dead letter at a place; False: there is none."""
        try:
            return await self._stream.delete_msg(DEAD_LETTERS_STREAM, sequence)
        except (nats.js.errors.NotFoundError, nats.js.errors.BadRequestError, nats.js.errors.ServerError):
            if await self._message(sequence) is not None:
                raise
            return False

    async def purge(self, *, source: str | None = None) -> None:
        """Remove all dead letters of a source, or of all."""
        subject = None if source is None else dead_letter_subject(source)
        try:
            await self._stream.purge_stream(DEAD_LETTERS_STREAM, subject=subject)
        except nats.js.errors.NotFoundError:
            return

    async def retry(self, letter: DeadLetter, headers: Mapping[str, str] | None = None) -> None:
        """Publish the request once more, under its own name: if it has become a run meanwhile, it makes no second one.

        The dead letter stays; should the request be refused again, it has another.

        Args:
            headers: in place of those that the request had; its `Nats-Msg-Id` is `retry_id(letter)` in any case.
        """
        given = letter.headers if headers is None else headers
        kept = {name: value for name, value in given.items() if not name.lower().startswith("nats-")}
        await self._stream.publish(
            letter.subject,
            letter.body,
            timeout=PUBLISH_TIMEOUT_SECS,
            headers={**kept, MESSAGE_ID: retry_id(letter)},
        )

    async def _message(self, sequence: int, subject: str | None = None) -> RawStreamMsg | None:
        """The message at a place, or with a subject the first one of it from there on."""
        try:
            return await self._stream.get_msg(
                DEAD_LETTERS_STREAM, seq=sequence, subject=subject, next=subject is not None
            )
        except nats.js.errors.NotFoundError:
            return None


def retry_id(letter: DeadLetter) -> str:
    """The `Nats-Msg-Id` with which the request of a dead letter is published once more."""
    return again(letter.message_id, f"{letter.sequence}@{letter.at.isoformat()}")


def _encoded(text: str) -> str:
    """On one line, in printable ASCII: what no header could hold is percent-encoded."""
    encoded = quote(text, safe=PRINTABLE, errors="replace")
    if len(encoded) <= LONGEST_REASON:
        return encoded
    whole = re.sub(r"%.?$", "", encoded[:LONGEST_REASON])
    return quote(unquote(whole, errors="ignore"), safe=PRINTABLE) + "..."


def _with_originals(own: dict[str, str], originals: Mapping[str, str], room: int) -> dict[str, str]:
    """The headers of a dead letter: its own first, then those of the request, as far as there is room."""
    headers: dict[str, str] = {}
    for name, value in (*own.items(), *_renamed(originals)):
        room -= len(name) + len(value.encode()) + 4
        if room > 32 or name in own:
            headers[name] = value
    return headers


def _renamed(originals: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """What NATS would obey, or what a dead letter has itself, under another name. Names that are no tokens are left out."""
    for name, value in originals.items():
        low = name.lower()
        taken = low in OWN or low.startswith(("nats-", ORIGINAL.lower()))
        if TOKEN.fullmatch(name):
            yield (ORIGINAL + name if taken else name), value


def _read(message: RawStreamMsg) -> DeadLetter:
    headers = _headers(base64.b64decode(message.hdrs or b""))
    own = {name.lower(): value for name, value in headers.items()}

    def told(name: str) -> str:
        return own.get(name.lower(), "")

    at = message.time or datetime.fromtimestamp(0, UTC)
    return DeadLetter(
        sequence=message.seq or 0,
        at=at,
        code=int(told(CODE)) if told(CODE).isdigit() else 0,
        error=told(ERROR),
        reason=unquote(told(REASON)),
        source=told(SOURCE_NAME),
        subject=told(SUBJECT),
        message_id=unquote(told(NAME)),
        published_at=_moment(told(PUBLISHED_AT), at),
        headers=dict(_originals(headers)),
        body=message.data or b"",
    )


def _moment(text: str, otherwise: datetime) -> datetime:
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return otherwise


def _originals(headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in headers.items():
        if name.startswith(ORIGINAL):
            yield name.removeprefix(ORIGINAL), value
        elif name.lower() not in OWN and not name.lower().startswith("nats-"):
            yield name, value


def _headers(block: bytes) -> dict[str, str]:
    """The client's own reader of these, for messages that are got by their place, does not know UTF-8."""
    pairs = (line.partition(b":") for line in block.split(b"\r\n")[1:])
    return {
        name.decode("ascii", "replace"): value.strip().decode("utf-8", "replace")
        for name, sep, value in pairs
        if sep
    }
