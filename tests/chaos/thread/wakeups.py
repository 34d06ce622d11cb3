"""The wake-ups of a thread: where each of them is, and whether the thread can rely on them."""

from __future__ import annotations

from tests.chaos.thread.bench import Bench
from treadle.messaging.wakeups import Delivery

# Where there is one, it comes at once.
PULL_SECS = 10.0


class Wakeups:
    """Follows each message, by its place in the stream, until it is acknowledged.

    Attributes:
        reliable: no message was lost or acknowledged by somebody who no longer had it; the sweeper is not needed.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.reliable = True
        # New ones that nobody has pulled; those that come again; who has which.
        self.fresh = 0
        self.coming: list[int] = []
        self.held: list[Delivery] = []

    @property
    def on_their_way(self) -> bool:
        return bool(self.fresh or self.coming)

    @property
    def unsettled(self) -> bool:
        """Whether some message will bring a worker to the thread, sooner or later."""
        return self.on_their_way or bool(self.held)

    async def pull(self) -> Delivery:
        delivery = await self._bench.inbox.pull(PULL_SECS)
        assert delivery is not None, "a wake-up that was published is gone"
        if place(delivery) in self.coming:
            self.coming.remove(place(delivery))
        else:
            self.fresh -= 1
        self.held.append(delivery)
        return delivery

    async def ack(self, delivery: Delivery) -> None:
        """JetStream may take it from whoever once had the message, also when somebody else has it now."""
        late = not any(each is delivery for each in self.held)
        await self._bench.settle(delivery, b"+ACK")
        if not late or not await self._bench.has(place(delivery)):
            self.reliable = self.reliable and not (late and self._known(place(delivery)))
            self._forget(place(delivery))

    async def lose(self, delivery: Delivery) -> None:
        """JetStream forgets it."""
        self.reliable = False
        await self.ack(delivery)

    async def come_again(self, delivery: Delivery) -> None:
        """It was given back, or not acknowledged for too long: then somebody else gets it, too."""
        if not any(each is delivery for each in self.held):
            return
        self._forget(place(delivery))
        self.coming.append(place(delivery))
        await self._bench.settle(delivery, b"-NAK")

    def _known(self, where: int) -> bool:
        return where in self.coming or any(place(each) == where for each in self.held)

    def _forget(self, where: int) -> None:
        self.held = [each for each in self.held if place(each) != where]
        self.coming = [each for each in self.coming if each != where]


def place(delivery: Delivery) -> int:
    """The message's place in the stream."""
    return int(delivery.ack_subject.split(".")[-4])
