"""The issuer's public keys, kept fresh by one task, which alone fetches them.

A token that names an unknown key makes it fetch them again, since issuers change their keys as they like; but not within
`spacing_secs` of the last time, since anybody can write tokens that name any key. All who wait for keys wait for the same fetch.
While the issuer is away, the keys that are there are good.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from treadle.errors import Unavailable
from treadle.identity.asymmetric import PublicKey
from treadle.owned_task import OwnedTask

log = logging.getLogger(__name__)

# Longer than a fetch may take, so that it ends whoever fetches.
WAIT_SECS = 10.0
NONE_YET = "The keys of the tokens' issuer have not come yet."


@dataclass(frozen=True)
class Times:
    """When keys are fetched, in seconds.

    Args:
        refresh_secs: after the last time, if it went well.
        retry_secs: after one that failed, when there are older keys.
        first_retry_secs: after one that failed, when there are none yet.
        spacing_secs: at the least between one fetch and another that a token asks for.
    """

    refresh_secs: float = 300.0
    retry_secs: float = 30.0
    first_retry_secs: float = 2.0
    spacing_secs: float = 10.0


class KeySet:
    """Knows the keys, from `start` until `stop`.

    Args:
        fetch: raises Unavailable when it cannot.
        clock: seconds since any moment.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[PublicKey]]],
        times: Times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._times = times
        self._clock = clock
        self._keys: Sequence[PublicKey] = ()
        self._problem: str | None = None
        self._fetching = True
        """From the beginning on, since that is what the task does first."""
        self._began = 0.0
        self._wanted = asyncio.Event()
        self._fetched = asyncio.Event()
        self._task = OwnedTask("jwks", self._keep_fresh)
        self.fetches = 0
        """How many have gone well: what was verified before the last one may have been verified with a key that is gone."""

    def start(self) -> None:
        self._task.start()

    async def stop(self) -> None:
        await self._task.stop()

    async def fitting(self, algorithm: str, kid: str | None) -> list[PublicKey]:
        """The keys that may have signed a token, none if the issuer has none.

        Args:
            kid: the key's id; None: the token names none, and any may have.

        Raises:
            Unavailable: the issuer could not be asked.
        """
        found = self._known(algorithm, kid)
        if not found and (self._fetching or self._clock() - self._began >= self._times.spacing_secs):
            await self._another_fetch()
            found = self._known(algorithm, kid)
        if not found and (self._problem is not None or not self._keys):
            raise Unavailable(f"{self._problem or NONE_YET} Nobody can say now whether the token is good.")
        return found

    def _known(self, algorithm: str, kid: str | None) -> list[PublicKey]:
        return [key for key in self._keys if algorithm in key.algorithms and kid in (None, key.kid)]

    async def _another_fetch(self) -> None:
        """Until the fetch that is on its way has ended, or else one that begins now."""
        self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECS):
                await self._fetched.wait()

    async def _keep_fresh(self) -> None:
        while True:
            await self._fetch_once()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_secs()):
                    await self._wanted.wait()

    async def _fetch_once(self) -> None:
        self._fetching, self._began = True, self._clock()
        try:
            self._keys = await self._fetch()
        except Unavailable as error:
            self._failed(str(error))
        else:
            self._went_well()
        self._fetching = False
        self._wanted.clear()
        self._fetched.set()
        self._fetched = asyncio.Event()

    def _failed(self, problem: str) -> None:
        if self._problem is None:
            log.warning("%s %s", problem, "The older keys are used." if self._keys else "")
        self._problem = problem

    def _went_well(self) -> None:
        if self._problem is not None or not self.fetches:
            log.info("%d keys of the tokens' issuer are there", len(self._keys))
        self._problem = None
        self.fetches += 1

    def _pause_secs(self) -> float:
        times = self._times
        failed = times.retry_secs if self._keys else times.first_retry_secs
        secs = times.refresh_secs if self._problem is None else failed
        return secs * random.uniform(0.9, 1)  # noqa: S311 - a fleet must not come in step
