"""Certificates for the tests: an authority of their own, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
DAY = datetime.timedelta(days=1)


class Certificate(NamedTuple):
    """Files in PEM."""

    cert: Path
    key: Path


class Authority:
    """A CA whose files lie in one folder; `path` is its certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = _named(name)
        self.path = folder / f"{name}.pem"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self._write(self.path, self._build(self._issuer, self._key).add_extension(basic, critical=True))

    def issue(self, name: str, host: str = HOST) -> Certificate:
        """A certificate for one who listens at an address, or asks as a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = Certificate(
            self._folder / f"{self._name}-{name}.crt", self._folder / f"{self._name}-{name}.key"
        )
        at = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        self._write(made.cert, self._build(_named(name), key).add_extension(at, critical=False))
        made.key.touch(mode=0o600)
        made.key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        return made

    def server_context(self, certificate: Certificate) -> ssl.SSLContext:
        """For a server that lets in whoever has a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.load_verify_locations(self.path)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )

    def _write(self, path: Path, builder: x509.CertificateBuilder) -> None:
        path.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
