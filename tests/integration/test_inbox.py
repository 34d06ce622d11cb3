"""Who stops pulling gives back what was on its way to it: nobody waits for that until its AckWait is over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from treadle.dev.servers import EmbeddedNats
from treadle.messaging.connection import Nats
from treadle.messaging.inbox import Inbox

STREAM, CONSUMER, SUBJECT = "WORK", "workers", "work.thread"
# Far longer than the test: what is not given back does not come in time.
ACK_WAIT_SECS = 600
# For the server to send, while this process does not read.
DELIVERY_SECS = 0.1


def inbox(connection: Nats) -> Inbox[Msg]:
    return Inbox(connection.client, STREAM, CONSUMER, lambda message: message)


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Nats]:
    connection = Nats(url, name="test")
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.close()


async def publish(url: str, body: bytes) -> None:
    async with connected(url) as connection:
        await connection.client.jetstream().publish(SUBJECT, body)


def publish_unread(url: str, body: bytes) -> None:
    """Publish while the loop that calls this stands still: what is sent to its connections waits to be read."""
    sending = threading.Thread(target=lambda: asyncio.run(publish(url, body)))
    sending.start()
    sending.join()
    time.sleep(DELIVERY_SECS)


async def test_a_message_that_meets_the_end_of_its_receiver_goes_to_another(tmp_path: Path) -> None:
    async with (
        EmbeddedNats(tmp_path) as server,
        connected(server.url) as leaving,
        connected(server.url) as staying,
    ):
        stream = leaving.client.jetstream()
        await stream.add_stream(
            StreamConfig(name=STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE)
        )
        await stream.add_consumer(
            STREAM,
            ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_SECS),
        )
        given_up = inbox(leaving)
        pull = asyncio.create_task(given_up.pull(60), name="pull")
        while not (await stream.consumer_info(STREAM, CONSUMER)).num_waiting:
            continue
        publish_unread(server.url, b"look")
        pull.cancel()
        await given_up.close()
        message = await inbox(staying).pull(10)
        assert message is not None
        assert (message.data, message.metadata.num_delivered) == (b"look", 2)
