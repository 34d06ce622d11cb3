"""A stack whose three servers speak TLS only, to clients with a certificate, and each want a credential besides."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import asyncpg

from tests.certificates import HOST, Authority, Certificate
from tests.nkey import Nkey
from tests.stack import Stack
from tests.tls_front import TlsFront
from treadle.dev.servers import (
    EmbeddedNats,
    EmbeddedPostgres,
    EmbeddedValkey,
    Servers,
    start_together,
    stop_together,
)
from treadle.migrate import migrate

USER = "app"


@dataclass(frozen=True)
class Secrets:
    """What the servers want to know."""

    postgres: str
    valkey: str
    nats: Nkey


class Postgres(EmbeddedPostgres):
    """Wants a password of the user `app`, who owns the database and is no superuser."""

    def _write_access_rules(self) -> None:
        super()._write_access_rules()
        hba = self._cluster / "pg_hba.conf"
        self._write("pg_hba.conf", f"{hba.read_text()}local all {USER} scram-sha-256\n")

    async def let_in(self, password: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"create role {USER} login password '{password}'")
            await connection.execute(f"alter database treadle owner to {USER}")
        finally:
            await connection.close()

    @property
    def socket(self) -> Path:
        return Path(self.url.partition("?host=")[2]) / ".s.PGSQL.5432"


class Valkey(EmbeddedValkey):
    """Knows one user, who may touch what is Treadle's and administer nothing."""

    password = ""

    def command(self) -> list[str | Path]:
        user = f"--user {USER} on >{self.password} ~treadle:* &treadle:* +@all -@admin -@dangerous"
        return [*super().command(), *user.split(), "--user", "default", "off"]

    async def answers(self) -> bool:
        """It takes connections; what it would answer is for `app` alone."""
        try:
            _, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        writer.close()
        return True

    @property
    def socket(self) -> Path:
        return Path(self.url.removeprefix("unix://"))


class Nats(EmbeddedNats):
    """Knows one user by the nkey, and speaks TLS to whoever has a certificate."""

    user = ""
    certificate: Certificate
    ca: Path

    async def prepare(self) -> None:
        await super().prepare()
        config = json.loads(self._config_path().read_text())
        config["authorization"] = {"users": [{"nkey": self.user}]}
        config["tls"] = {
            "cert_file": str(self.certificate.cert),
            "key_file": str(self.certificate.key),
            "ca_file": str(self.ca),
            "verify": True,
        }
        self._config_path().write_text(json.dumps(config))

    @property
    def url(self) -> str:
        return self.listens.replace("nats://", "tls://")


@dataclass
class Secured:
    """The stack, and what is needed to ask for it with something else."""

    stack: Stack
    folder: Path
    authority: Authority
    client: Certificate
    postgres_port: int
    valkey_port: int

    def database_uri(self, password: str, ca: Path | None = None) -> str:
        files = {
            "sslmode": "verify-full",
            "sslrootcert": ca or self.authority.path,
            "sslcert": self.client.cert,
            "sslkey": self.client.key,
        }
        return (
            f"postgresql://{USER}:{_quoted(password)}@{HOST}:{self.postgres_port}/treadle?{urlencode(files)}"
        )

    def redis_uri(self, password: str, ca: Path | None = None) -> str:
        files = {
            "ssl_ca_certs": ca or self.authority.path,
            "ssl_certfile": self.client.cert,
            "ssl_keyfile": self.client.key,
        }
        return f"rediss://{USER}:{_quoted(password)}@{HOST}:{self.valkey_port}/0?{urlencode(files)}"

    def nats(self, user: Nkey, ca: Path | None = None) -> dict[str, str]:
        seed = self.folder / f"{user.public}.nk"
        seed.touch(mode=0o600)
        seed.write_text(f"{user.seed}\n")
        return {
            "TREADLE_NATS_NKEY_SEED": str(seed),
            "TREADLE_NATS_TLS_CA": str(ca or self.authority.path),
            "TREADLE_NATS_TLS_CERT": str(self.client.cert),
            "TREADLE_NATS_TLS_KEY": str(self.client.key),
        }


@asynccontextmanager
async def secured_stack(secrets: Secrets, **settings: str) -> AsyncGenerator[Secured]:
    """Servers with the schema in place; the caller starts the services."""
    with tempfile.TemporaryDirectory(prefix="treadle-data-") as directory:
        folder = Path(directory)
        os.chmod(directory, 0o711)  # under root Postgres runs as someone else, who has to get in
        authority = Authority(folder, "authority")
        servers = _servers(folder, authority, secrets)
        await start_together(servers)
        try:
            async with _fronted(servers, authority, secrets, folder) as secured:
                await migrate(secured.database_uri(secrets.postgres))
                secured.stack = Stack(servers, {**_addresses(secured, secrets), **settings})
                try:
                    yield secured
                finally:
                    await secured.stack.close()
        finally:
            await stop_together(servers)
            shutil.rmtree(servers.postgres.home, ignore_errors=True)


def _servers(folder: Path, authority: Authority, secrets: Secrets) -> Servers:
    postgres, nats, valkey = Postgres(folder), Nats(folder), Valkey(folder)
    nats.user, nats.ca, nats.certificate = secrets.nats.public, authority.path, authority.issue("nats")
    valkey.password = secrets.valkey
    return Servers(postgres, nats, valkey)


@asynccontextmanager
async def _fronted(
    servers: Servers, authority: Authority, secrets: Secrets, folder: Path
) -> AsyncGenerator[Secured]:
    postgres, _, valkey = servers
    assert isinstance(postgres, Postgres)
    assert isinstance(valkey, Valkey)
    await postgres.let_in(secrets.postgres)
    context = authority.server_context(authority.issue("front"))
    async with (
        TlsFront(postgres.socket, context, postgres=True).listening() as before_postgres,
        TlsFront(valkey.socket, context, postgres=False).listening() as before_valkey,
    ):
        stack = Stack(servers, {})
        client = authority.issue("client")
        yield Secured(stack, folder, authority, client, before_postgres.port, before_valkey.port)


def _addresses(secured: Secured, secrets: Secrets) -> dict[str, str]:
    return {
        "DATABASE_URI": secured.database_uri(secrets.postgres),
        "REDIS_URI": secured.redis_uri(secrets.valkey),
        **secured.nats(secrets.nats),
    }


def _quoted(password: str) -> str:
    return quote(password, safe="")
