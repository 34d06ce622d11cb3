"""How NATS is reached, and who connects: what NATS_URL and the settings beside it say.

A user and a password, or a token, stand in the URL. Keys and certificates are files, and are read again for each
connection: one that is renewed in its place is used from the next connection on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

import nats.errors
from nats.aio.client import Client

from treadle import readable
from treadle.errors import ConfigError
from treadle.settings import Settings

if TYPE_CHECKING:
    from treadle.messaging.nkeys import UserKey

P = ParamSpec("P")
T = TypeVar("T")

CREDS, NKEY_SEED = "TREADLE_NATS_CREDS", "TREADLE_NATS_NKEY_SEED"
TLS_CA, TLS_CERT, TLS_KEY = "TREADLE_NATS_TLS_CA", "TREADLE_NATS_TLS_CERT", "TREADLE_NATS_TLS_KEY"
_JWT, _SEED = b"NATS USER JWT", b"USER NKEY SEED"


@dataclass(frozen=True)
class NatsAccess:
    """Addresses of NATS and what opens them; all but `url` are paths, empty where not given.

    Attributes:
        url: one or several addresses, separated by commas.
        creds: of a .creds file: a user's JWT and seed.
        nkey_seed: of a file with a user's seed alone.
        tls_ca: of the CA certificates, in PEM, that may have signed the server's; empty: the system's.
        tls_cert: of the client's own certificate.
        tls_key: of its key.
    """

    url: str = field(repr=False)
    creds: str = ""
    nkey_seed: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As a service's settings say."""
        return cls(
            settings.nats_url,
            settings.treadle_nats_creds,
            settings.treadle_nats_nkey_seed,
            settings.treadle_nats_tls_ca,
            settings.treadle_nats_tls_cert,
            settings.treadle_nats_tls_key,
        )

    @classmethod
    def given(cls, url: str, environ: Mapping[str, str]) -> Self:
        """As the environment of a command says, which needs none of the other settings."""
        return cls(url, *(environ.get(name, "") for name in (CREDS, NKEY_SEED, TLS_CA, TLS_CERT, TLS_KEY)))

    @property
    def tls(self) -> bool:
        """Whether nothing may be said to a server before it has proved itself."""
        return bool(self.tls_ca or self.tls_cert) or any(
            address.strip().startswith(("tls:", "wss:")) for address in self.url.split(",")
        )

    def client(self) -> Client:
        """A client that is not connected yet; `connect` takes `options`.

        Raises:
            ConfigError: a file is missing or holds something else, or what is given does not go together.
        """
        if self.creds and self.nkey_seed:
            raise ConfigError(
                f"{CREDS} and {NKEY_SEED} are both set: a user has one of them. Unset the other."
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConfigError(f"{TLS_CERT} and {TLS_KEY} go together: set both, or neither.")
        if self.creds:
            self._user_jwt()
            self.user_key()
        if self.tls:
            self.context()
        return _Client(self)

    def options(self) -> dict[str, Any]:
        """Where to connect, and as whom."""
        options: dict[str, Any] = {"servers": [address.strip() for address in self.url.split(",")]}
        if self.creds or self.nkey_seed:
            options["signature_cb"] = _told(self._signature)
        if self.creds:
            options["user_jwt_cb"] = _told(self._user_jwt)
        return options

    def user_key(self) -> UserKey:
        """The key that signs what the server says first. Raises ConfigError."""
        from treadle.messaging.nkeys import UserKey  # noqa: PLC0415 - for a key only

        if self.nkey_seed:
            return UserKey(readable.read(NKEY_SEED, self.nkey_seed).decode("ascii", "replace"), NKEY_SEED)
        return UserKey(self._of_creds(_SEED), CREDS)

    def _signature(self, nonce: str) -> bytes:
        return self.user_key().sign(nonce)

    def _user_jwt(self) -> bytes:
        return self._of_creds(_JWT).encode()

    def _of_creds(self, part: bytes) -> str:
        """The line behind the one that names a part."""
        lines = readable.read(CREDS, self.creds).splitlines()
        named = [number for number, line in enumerate(lines) if b"BEGIN " + part in line]
        if not named or len(lines) == named[0] + 1:
            raise ConfigError(
                f"{CREDS} names {self.creds}, in which there is no {part.decode()}. It takes a file as "
                "`nsc generate creds` writes it."
            )
        return lines[named[0] + 1].decode("ascii", "replace").strip()

    def context(self) -> ssl.SSLContext:
        """What a server has to prove, and what proves us. Raises ConfigError."""
        if self.tls_ca:
            readable.read(TLS_CA, self.tls_ca)
        try:
            context = ssl.create_default_context(cafile=self.tls_ca or None)
        except ssl.SSLError as error:
            raise ConfigError(f"{TLS_CA} names {self.tls_ca}, which holds no certificates in PEM.") from error
        if self.tls_cert:
            readable.read(TLS_CERT, self.tls_cert)
            readable.read(TLS_KEY, self.tls_key)
            try:
                context.load_cert_chain(self.tls_cert, self.tls_key)
            except ssl.SSLError as error:
                raise ConfigError(
                    f"{TLS_CERT} and {TLS_KEY} are not a certificate and its key in PEM: {error}."
                ) from error
        return context


class _Client(Client):
    """A client that says nothing in the clear to a server that ought to speak TLS."""

    def __init__(self, access: NatsAccess) -> None:
        super().__init__()
        self._access = access
        self._public_nkey = access.user_key().public if access.nkey_seed else None

    @property
    def ssl_context(self) -> ssl.SSLContext:
        return _told(self._access.context)()

    async def _process_connect_init(self) -> None:
        """As the client does. A connection on which TLS did not come about is let go: the client would wait for its end, for ever."""
        try:
            await super()._process_connect_init()
        except OSError:
            if self._transport is not None:
                self._transport.close()
                self._transport = None
            raise

    def _connect_command(self) -> bytes:
        """The first thing that a server is told, with the credentials in it."""
        server = self._current_server
        secure = server is not None and server.uri.scheme == "wss"
        if self._access.tls and not (secure or self._server_info.get("tls_required")):
            raise nats.errors.Error(
                "nats: the server speaks no TLS, which NATS_URL or TREADLE_NATS_TLS_* ask for: nothing was said to it"
            )
        return super()._connect_command()


def _told(do: Callable[P, T]) -> Callable[P, T]:
    """The same, its errors told as those of NATS are: the client goes on trying, and a file may be put right."""

    def doing(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return do(*args, **kwargs)
        except ConfigError as error:
            raise nats.errors.Error(str(error)) from error

    return doing
