"""Who asks for a run over NATS: a user, and perhaps a tenant, that the message itself proves."""

from treadle.identity.claimed import refuse_claimed_identity
from treadle.identity.header import HEADER, Identity, IdentityVerifier, sign, signing_keys
from treadle.identity.user import PREFIX, User, configurable, user_of

__all__ = [
    "HEADER",
    "PREFIX",
    "Identity",
    "IdentityVerifier",
    "User",
    "configurable",
    "refuse_claimed_identity",
    "sign",
    "signing_keys",
    "user_of",
]
