"""Dead letters of both kinds, requests that could not become runs and runs that were given up, as one list."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from treadle.db.dead_letters import DeadRun, DeadRunInFull, DeadRuns
from treadle.db.pool import postgres_errors
from treadle.errors import NotFound, Unavailable
from treadle.identity.renewal import renewed
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.dead_letters import DeadLetter, DeadLetters
from treadle.messaging.wakeups import Source, WakeupPublisher
from treadle.operations.ids import new_id

Kind = Literal["request", "run"]
Letter = DeadLetter | DeadRun
PAGE = 500


class Ref(Struct, frozen=True):
    """The id of a dead letter: `request-17`, `run-4`."""

    kind: Kind
    number: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}"


class Wanted(Struct, frozen=True):
    """Which dead letters. `source` is one of requests: runs have none."""

    kind: Kind | None = None
    source: str | None = None
    older_than: timedelta | None = None

    @property
    def requests(self) -> bool:
        return self.kind != "run"

    @property
    def runs(self) -> bool:
        return self.kind != "request" and self.source is None

    def includes(self, letter: Letter) -> bool:
        return self.older_than is None or died_at(letter) <= datetime.now(UTC) - self.older_than


def ref(letter: Letter) -> Ref:
    if isinstance(letter, DeadLetter):
        return Ref("request", letter.sequence)
    return Ref("run", letter.id)


def died_at(letter: Letter) -> datetime:
    return letter.at if isinstance(letter, DeadLetter) else letter.created_at


class DeadLetterOffice:
    """What can be done with dead letters.

    Everything raises Unavailable when Postgres or NATS cannot be reached.

    Args:
        identity_secret: TREADLE_IDENTITY_SECRET, to sign anew who asked in a request that is published again.
    """

    def __init__(
        self, requests: DeadLetters, runs: DeadRuns, publisher: WakeupPublisher, identity_secret: str
    ) -> None:
        self._requests = requests
        self._runs = runs
        self._publisher = publisher
        self._identity_secret = identity_secret

    async def newest(self, wanted: Wanted, limit: int) -> list[Letter]:
        """The newest ones, newest first."""
        found: list[Letter] = []
        if wanted.requests:
            with _nats_errors("reading dead letters"):
                found += await self._requests.newest(limit, source=wanted.source)
        if wanted.runs:
            with postgres_errors("reading dead letters"):
                found += await self._runs.page(None, limit)
        return sorted(found, key=died_at, reverse=True)[:limit]

    async def all(self, wanted: Wanted) -> AsyncGenerator[Letter]:
        """All that there are now, those of requests first, oldest first: what comes meanwhile is not among them."""
        runs = await self._all_runs() if wanted.runs else []
        if wanted.requests:
            async with aclosing(self._all_requests(wanted.source)) as letters:
                async for letter in letters:
                    if wanted.includes(letter):
                        yield letter
        for run in reversed(runs):
            if wanted.includes(run):
                yield run

    async def _all_requests(self, source: str | None) -> AsyncGenerator[DeadLetter]:
        with _nats_errors("reading dead letters"):
            last = await self._requests.last()
            async with aclosing(self._requests.each(source=source)) as letters:
                async for letter in letters:
                    if letter.sequence > last:
                        return
                    yield letter

    async def _all_runs(self) -> list[DeadRun]:
        found: list[DeadRun] = []
        with postgres_errors("reading dead letters"):
            while page := await self._runs.page(found[-1].id if found else None, PAGE):
                found += page
        return found

    async def get(self, wanted: Ref) -> DeadLetter | DeadRunInFull:
        """One with all that is known of it.

        Raises:
            NotFound: it is not there, or not any more.
        """
        letter: DeadLetter | DeadRunInFull | None
        if wanted.kind == "request":
            with _nats_errors(f"reading {wanted}"):
                letter = await self._requests.get(wanted.number)
        else:
            with postgres_errors(f"reading {wanted}"):
                letter = await self._runs.get(wanted.number)
        if letter is None:
            raise _gone(wanted)
        return letter

    async def retry(self, letter: Letter) -> str:
        """Do what was asked once more, and remove the dead letter; says what came of it.

        Raises:
            NotFound: it is not there any more.
            Unauthorized: who asked cannot be proved any more.
            Conflict: a run was to answer a question that another one answers now.
        """
        if isinstance(letter, DeadLetter):
            return await self._publish(letter)
        return await self._make(letter)

    async def _publish(self, letter: DeadLetter) -> str:
        """It is removed after NATS has stored the request. Published twice, it still is one run: its name says so."""
        headers = renewed(
            letter.headers,
            self._identity_secret,
            subject=letter.subject,
            body=letter.body,
            message_id=letter.message_id,
            published_at=letter.published_at,
        )
        with _nats_errors(f"publishing {ref(letter)} again"):
            await self._requests.retry(letter, headers)
            await self._requests.delete(letter.sequence)
        return f"published again to {letter.subject}"

    async def _make(self, letter: DeadRun) -> str:
        with postgres_errors(f"making {ref(letter)} once more"):
            made = await self._runs.remade(letter.id, new_id(), new_id())
        if made is None:
            raise _gone(ref(letter))
        await self._publisher.publish(made, Source.CREATE)
        where = "from its last checkpoint, if it left one" if made.goes_on else "from its input"
        return f"run {made.run_id} on thread {made.thread_id}, {where}"

    async def purge(self, wanted: Ref) -> bool:
        """Remove a dead letter for good; False: it was not there."""
        if wanted.kind == "request":
            with _nats_errors(f"removing {wanted}"):
                return await self._requests.delete(wanted.number)
        with postgres_errors(f"removing {wanted}"):
            return bool(await self._runs.delete([wanted.number]))


@contextmanager
def _nats_errors(doing: str) -> Generator[None]:
    try:
        yield
    except NATS_ERRORS as error:
        raise Unavailable(
            f"NATS did not answer while {doing}: {error or type(error).__name__}. Check that it is up and has JetStream."
        ) from error


def _gone(wanted: Ref) -> NotFound:
    return NotFound(
        f"There is no dead letter {wanted}, or not any more; `treadle deadletter list` has those that are there."
    )
