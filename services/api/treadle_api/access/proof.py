"""All the ways in which a request may prove who sends it, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar.types import Receive, Scope

from treadle.errors import Unauthorized
from treadle.identity.caller import Authenticator, Caller
from treadle_api.access.access import Access
from treadle_api.access.custom import CustomAuth, connection_of
from treadle_api.access.rules import Rules

# How clients prove who they are, where langgraph.json does not say.
SECURITY: Mapping[str, Any] = {
    "securitySchemes": {
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    },
    "security": [{"apiKey": []}, {"bearer": []}],
}


class Proof:
    """Finds out who sends a request.

    Args:
        builtin: each knows its own kind of credential.
        custom: the user's own, which knows all that the others do not; None: there is none.
        rules: what whoever it is may do.
        described: `securitySchemes` and `security` of the API's description.
    """

    def __init__(
        self,
        builtin: Sequence[Authenticator],
        custom: CustomAuth | None = None,
        rules: Rules | None = None,
        described: Mapping[str, Any] | None = None,
    ) -> None:
        self._builtin = builtin
        self._custom = custom
        self.rules = rules
        self.described = {**SECURITY, **(described or {})}
        self.reads_body = custom is not None and custom.reads_body

    async def access(self, scope: Scope, receive: Receive, body: bytes) -> Access:
        """What the sender may do.

        Raises:
            Unauthorized: it does not prove who it is.
            Refused: the user's own function says so.
        """
        return Access(await self._caller(scope, receive, body), self.rules)

    async def _caller(self, scope: Scope, receive: Receive, body: bytes) -> Caller:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        for authenticator in self._builtin:
            if (caller := await authenticator.caller(headers)) is not None:
                return caller
        if self._custom is not None:
            return await self._custom.caller(connection_of(scope, receive), body)
        raise Unauthorized(
            "This server answers only those who prove who they are: send a credential in the header `authorization` or "
            "`x-api-key`. See docs/auth.md."
        )
