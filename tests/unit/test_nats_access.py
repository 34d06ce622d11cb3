"""What is wrong with keys and certificates of NATS is said when a service starts, and not what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certificates import Authority
from treadle.errors import ConfigError
from treadle.messaging.access import NatsAccess
from treadle.messaging.nkeys import UserKey

URL = "nats://127.0.0.1:1"
# Of the tests of https://github.com/nats-io/nkeys.py.
SEED = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"
PUBLIC = "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L"
OF_AN_ACCOUNT = "SAAA3K3WU5JV52GKWYBVHBJEWH6DA5EERYJRN3DXDNAS3BESOBIS6CG6HY"


def test_a_seed_gives_the_key_that_the_tools_of_nats_give() -> None:
    assert UserKey(f"{SEED}\n", "SEED").public == PUBLIC


@pytest.mark.parametrize(
    "seed", ["", "SU", PUBLIC, SEED[:-1], SEED.replace("A", "B"), "seed: ä", OF_AN_ACCOUNT]
)
def test_what_is_no_seed_of_a_user_is_refused_and_not_shown(seed: str) -> None:
    with pytest.raises(ConfigError, match="SEED holds no seed of a NATS user") as refused:
        UserKey(seed, "SEED")

    assert seed[3:] == "" or seed[3:] not in str(refused.value)


def test_what_is_given_has_to_go_together(tmp_path: Path) -> None:
    certificate = Authority(tmp_path, "ca").issue("client")
    with pytest.raises(ConfigError, match="TREADLE_NATS_CREDS and TREADLE_NATS_NKEY_SEED are both set"):
        NatsAccess(URL, creds="a", nkey_seed="b").client()
    with pytest.raises(ConfigError, match="TREADLE_NATS_TLS_CERT and TREADLE_NATS_TLS_KEY go together"):
        NatsAccess(URL, tls_cert=str(certificate.cert)).client()


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    one, other = authority.issue("one"), authority.issue("other")
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(ConfigError, match=r"TREADLE_NATS_TLS_CA names .*empty, which holds no certificates"):
        NatsAccess(URL, tls_ca=str(empty)).client()
    with pytest.raises(ConfigError, match="TREADLE_NATS_TLS_KEY are not a certificate and its key"):
        NatsAccess(URL, tls_cert=str(one.cert), tls_key=str(other.key)).client()
    with pytest.raises(
        ConfigError, match=r"TREADLE_NATS_CREDS names .*empty, in which there is no NATS USER JWT"
    ):
        NatsAccess(URL, creds=str(empty)).client()
    with pytest.raises(ConfigError, match=r"TREADLE_NATS_NKEY_SEED names .*none, which cannot be read"):
        NatsAccess(URL, nkey_seed=str(tmp_path / "none")).client()
