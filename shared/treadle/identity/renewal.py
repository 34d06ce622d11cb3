"""Identities of requests that are published again, long after they were signed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from treadle.errors import Unauthorized
from treadle.identity.header import HEADER, IdentityVerifier, sign, signing_keys


def renewed(
    headers: Mapping[str, str],
    secret: str,
    *,
    subject: str,
    body: bytes,
    message_id: str,
    published_at: datetime,
) -> dict[str, str]:
    """The headers of a request, its identity signed anew if it was good when the request was published.

    Who asks stays the same, and so does what is asked: nobody can get more signed than was signed at first.

    Args:
        secret: TREADLE_IDENTITY_SECRET; none: no header can be.
        message_id: the name of the request.

    Raises:
        Unauthorized: there is an identity, and it was not good then, or there is no key.
        ConfigError: a key cannot be used.
    """
    kept = {name: value for name, value in headers.items() if name.lower() != HEADER.lower()}
    if len(kept) == len(headers):
        return kept
    if not (keys := signing_keys(secret)):
        raise Unauthorized(
            f"The request has a header `{HEADER}`, which is good for a short time only: set TREADLE_IDENTITY_SECRET, as "
            "the API has it, so that it can be signed anew."
        )
    identity = IdentityVerifier(keys, required=True).verify(headers, subject, body, published_at)
    if identity is None:
        return kept
    token = sign(
        secret,
        user=identity.user,
        tenant=identity.tenant,
        subject=subject,
        body=body,
        message_id=message_id,
    )
    return {**kept, HEADER: token}
