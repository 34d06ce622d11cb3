"""Webhooks on the network: to the address that was judged, under the name that was meant, and never for long."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncGenerator
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.receiver import Receiver
from treadle.webhooks.policy import WebhookPolicy, networks
from treadle.webhooks.sender import Answer, WebhookSender

HOST = "hooks.example.com"


class Names:
    """A resolver that answers something else each time, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked = 0
        self._answers = answers

    async def __call__(self, host: str, port: int) -> list[str]:
        assert host == HOST
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


def sender(names: Names, allowed: str = "127.0.0.0/8", **options: Any) -> WebhookSender:
    given: dict[str, Any] = {"headers": {}, "keys": [], "timeout_secs": 1, **options}
    return WebhookSender(WebhookPolicy(None, networks(allowed)), resolver=names, **given)


async def send(sender: WebhookSender, url: str) -> Answer:
    return await sender.send(url, uuid4(), b"{}")


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with Receiver().listening() as receiver:
        yield receiver


async def test_the_connection_goes_to_the_address_that_was_judged_and_keeps_the_name(
    receiver: Receiver,
) -> None:
    """DNS rebinding: the second answer, which nobody judged, is never asked for."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])

    answer = await send(sender(names), f"http://{HOST}:{receiver.port}/x")

    assert (answer.status, names.asked) == (200, 1)
    assert receiver.at("/x")[0].headers["host"] == f"{HOST}:{receiver.port}"


async def test_a_name_that_leads_inside_is_refused_and_nothing_is_connected_to(receiver: Receiver) -> None:
    answer = await send(
        sender(Names(["127.0.0.1", "169.254.169.254"]), allowed=""), f"http://{HOST}:{receiver.port}/x"
    )

    assert answer.refused
    assert answer.error is not None
    assert "127.0.0.1 is a loopback address" in answer.error
    assert "169.254.169.254 is a link-local address" in answer.error
    assert receiver.at("/x") == []


async def test_of_several_addresses_only_the_allowed_ones_are_tried(receiver: Receiver) -> None:
    answer = await send(sender(Names(["10.0.0.1", "127.0.0.1"])), f"http://{HOST}:{receiver.port}/x")

    assert answer.status == 200


async def test_the_next_address_is_tried_where_one_does_not_answer(receiver: Receiver) -> None:
    answer = await send(sender(Names(["127.0.0.2", "127.0.0.1"])), f"http://{HOST}:{receiver.port}/x")

    assert answer.status == 200


async def test_a_policy_that_has_grown_stricter_holds_for_what_is_owed(receiver: Receiver) -> None:
    answer = await send(sender(Names(["127.0.0.1"]), allowed=""), receiver.url("/x"))

    assert answer.refused
    assert receiver.at("/x") == []


async def test_a_host_without_an_address_is_an_error_that_may_pass() -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    policy = WebhookPolicy(None)
    answer = await send(
        WebhookSender(policy, headers={}, keys=[], timeout_secs=1, resolver=nobody), f"http://{HOST}/"
    )

    assert answer.error == f"ConnectError: {HOST} cannot be resolved: Name or service not known"
    assert not answer.refused


async def test_a_closed_port_is_an_error_that_may_pass(receiver: Receiver) -> None:
    answer = await send(sender(Names(["127.0.0.2"])), f"http://{HOST}:{receiver.port}/x")

    assert (answer.status, answer.refused) == (None, False)
    assert answer.error is not None


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nx: ", b"\x00\x01 nothing of HTTP\r\n\r\n"])
async def test_a_receiver_that_speaks_slowly_or_something_else_is_left(sent: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await asyncio.sleep(10)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await send(sender(Names(["127.0.0.1"]), timeout_secs=0.2), f"http://{HOST}:{port}/x")

    assert answer.status is None
    assert answer.error is not None
    assert answer.secs < 5


async def test_a_body_without_an_end_is_not_read() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await send(sender(Names(["127.0.0.1"])), f"http://{HOST}:{port}/x")

    assert answer.status == 200


async def test_retry_after_is_understood_as_seconds_and_as_a_date(receiver: Receiver) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    values = ["120", format_datetime(later, usegmt=True), "soon"]
    receiver.answers["/x"].extend(f"503 Busy\r\nretry-after: {value}" for value in values)

    answers = [await send(sender(Names(["127.0.0.1"])), f"http://{HOST}:{receiver.port}/x") for _ in values]

    assert answers[0].retry_after == 120
    assert 90 < (answers[1].retry_after or 0) <= 100
    assert answers[2].retry_after is None


async def test_user_and_password_of_the_url_are_sent_unless_the_configuration_has_its_own(
    receiver: Receiver,
) -> None:
    url = f"http://ann:p%20w@{HOST}:{receiver.port}/x"
    await send(sender(Names(["127.0.0.1"])), url)
    await send(sender(Names(["127.0.0.1"]), headers={"Authorization": "Bearer t"}), url)

    sent = [each.headers["authorization"] for each in receiver.at("/x")]

    assert sent == ["Basic YW5uOnAgdw==", "Bearer t"]


async def test_tls_asks_for_the_certificate_of_the_name(tmp_path: Path) -> None:
    certificate = certified(tmp_path, HOST)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async with Receiver().listening(serving) as receiver:
        right = await send(
            sender(Names(["127.0.0.1"]), ssl_context=trusting), f"https://{HOST}:{receiver.port}/x"
        )
        wrong = await send(sender(Names(["127.0.0.1"])), f"https://{HOST}:{receiver.port}/x")

    assert right.status == 200
    assert wrong.error is not None
    assert "certificate" in wrong.error


def certified(folder: Path, host: str) -> Path:
    """A key and a certificate for a host, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, SHA256())
    )
    file = folder / "certified.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file
