"""The Redis client that streaming expects, and how its users bear a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from treadle import readable
from treadle.errors import ConfigError
from treadle.patience import OK, Tell, nobody

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECS = 2.0
ANSWER_TIMEOUT_SECS = 5.0

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

# What a call raises when Redis is away or cannot do its work now.
AWAY = (RedisError, OSError)


def connect(url: str) -> Redis:
    """A client of the Redis or Valkey at `url`; one per process. It connects when it is first used.

    It never retries by itself: whoever uses it here knows better what to do when Redis is away. Nor does it
    bound how long it waits for an answer: `answered` does. The library's own bound sends each command through
    `asyncio.wait_for`, which up to Python 3.11 swallows a cancellation that comes while the command goes out
    (bpo-42130), and then a shutdown waits for ever.

    Raises:
        ConfigError: the address cannot be understood, or a certificate that it names cannot be read.
    """
    options: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        readable.check_parameters("REDIS_URI", url, FILES)
        return _client(url, options)
    except ValueError:
        # Its text may hold what stands where a port should: part of a password.
        raise ConfigError(
            "REDIS_URI cannot be understood. In a user's name or password, write `@ : / ? # [ ] %` as %40 %3A %2F "
            "%3F %23 %5B %5D %25."
        ) from None


def _client(url: str, options: dict[str, Any]) -> Redis:
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT_SECS,
        socket_timeout=None,
        health_check_interval=0,
        protocol=2,
        **options,
    )


@asynccontextmanager
async def answered() -> AsyncGenerator[None]:
    """Within it, Redis has to answer in time; raises what is among `AWAY`, TimeoutError if it does not answer."""
    with closing_told():
        async with asyncio.timeout(ANSWER_TIMEOUT_SECS):
            yield


@contextmanager
def closing_told() -> Generator[None]:
    """Raise a lost connection as one: whoever writes to a transport that uvloop has just closed gets a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).endswith("the handler is closed"):
            raise
        raise RedisConnectionError("the connection was closed while it was written to") from error


class Backoff:
    """Growing, jittered delays in seconds, so that a fleet does not come back to Redis in step."""

    def __init__(self, first: float = 0.05, most: float = 1.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def delay(self) -> float:
        delay, self._next = self._next, min(self._next * 2, self._most)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing

    def reset(self) -> None:
        self._next = self._first


class Link:
    """One use of Redis, as Redis comes and goes: each change is logged once, and what tries again is paced.

    Args:
        tell: is told how Redis is, after each use.
    """

    def __init__(self, what: str, tell: Tell = nobody) -> None:
        self._tell = tell
        self.connected: bool | None = None
        """None: not known yet."""
        self._what = what
        self._lost_at = 0.0
        self._backoff = Backoff()

    @property
    def away_secs(self) -> float:
        """For how long Redis has been known to be away; 0 when it is not."""
        return time.monotonic() - self._lost_at if self.connected is False else 0.0

    def found(self) -> None:
        if self.connected is False:
            log.info("%s: Redis is back", self._what)
        self.connected = True
        self._tell(OK)
        self._backoff.reset()

    def lost(self, why: BaseException | str) -> None:
        if self.connected is not False:
            self._lost_at = time.monotonic()
            log.warning("%s wait for Redis: %s", self._what, str(why) or type(why).__name__)
        self.connected = False
        self._tell(str(why) or type(why).__name__)

    async def pause(self) -> None:
        """Wait until it is time to try again."""
        await asyncio.sleep(self._backoff.delay())
