"""Ways into NATS: a token, a .creds file, TLS that is asked for and not given, and a CA that is put right."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from tests.certificates import Authority
from tests.nkey import ACCOUNT, OPERATOR, Nkey, creds
from treadle.dev.servers import EmbeddedNats
from treadle.messaging.access import NatsAccess
from treadle.messaging.connection import Nats

SECS = 10


class Configured(EmbeddedNats):
    """NATS with more in its configuration, or less: None takes out."""

    def __init__(self, data_dir: Path, **changes: Any) -> None:
        super().__init__(data_dir)
        self._changes = changes

    async def prepare(self) -> None:
        await super().prepare()
        config = {**json.loads(self._config_path().read_text()), **self._changes}
        self._config_path().write_text(
            json.dumps({name: value for name, value in config.items() if value is not None})
        )


async def _connected(access: NatsAccess) -> None:
    """Connect, and have an answer."""
    connection = Nats(access, name="test")
    async with asyncio.timeout(SECS), connection.kept_up():
        await connection.opened()
        await connection.client.flush()


async def test_a_token_in_the_url_lets_in(tmp_path: Path) -> None:
    async with Configured(tmp_path, authorization={"token": "a-token"}) as server:
        await _connected(NatsAccess(server.listens.replace("://", "://a-token@")))


async def test_a_creds_file_lets_in(tmp_path: Path) -> None:
    operator, account, user = Nkey.new(OPERATOR), Nkey.new(ACCOUNT), Nkey.new()
    path = tmp_path / "user.creds"
    path.write_text(creds(account.says(user, type="user", subs=-1, data=-1, payload=-1), user))
    of_account = operator.says(
        account, type="account", limits={"subs": -1, "conn": -1, "data": -1, "payload": -1}
    )
    trusting = Configured(
        tmp_path,
        authorization=None,
        jetstream=None,
        operator=operator.says(operator, type="operator"),
        resolver="MEMORY",
        resolver_preload={account.public: of_account},
    )
    async with trusting as server:
        await _connected(NatsAccess(server.listens, creds=str(path)))


async def test_a_server_without_tls_is_told_no_credentials_where_tls_was_asked_for(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path) as server:
        access = NatsAccess(server.url.replace("nats://", "tls://"))
        with pytest.raises(nats.errors.Error, match="the server speaks no TLS"):
            await access.client().connect(**access.options(), allow_reconnect=False, error_cb=_unheard)


async def test_a_ca_that_is_put_right_is_used_without_a_restart(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    certificate, ca = authority.issue("nats"), tmp_path / "ca.pem"
    ca.write_bytes(other.path.read_bytes())
    tls = {"cert_file": str(certificate.cert), "key_file": str(certificate.key)}
    refused = asyncio.Event()
    async with Configured(tmp_path, tls=tls) as server:
        connection = Nats(
            NatsAccess(server.url, tls_ca=str(ca)), name="test", tell=lambda problem: refused.set()
        )
        async with asyncio.timeout(SECS), connection.kept_up():
            await refused.wait()
            assert "certificate verify failed" in connection.state
            ca.write_bytes(authority.path.read_bytes())
            await connection.opened()


async def _unheard(_: Exception) -> None:
    pass
