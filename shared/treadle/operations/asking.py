"""Who asks for a run: whose thread it is made on, which assistants may be run, and what its config says of the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.new_run import NewRun
from treadle.db.scope import Scope
from treadle.identity.user import USER, User, configurable
from treadle.model import DEFAULT_TENANT


class Asking:
    """Someone of a tenant who has been let through already: a cron, a service of the operator's own.

    Args:
        user: as the config of runs has it (`identity`, `permissions` and more); None: nobody who is known.
    """

    def __init__(self, tenant: str = DEFAULT_TENANT, user: Mapping[str, Any] | None = None) -> None:
        self.tenant = tenant
        self.user = user

    async def assistants(self, assistant_id: UUID) -> Scope:
        """Which assistants may be run."""
        return Scope(self.tenant)

    async def may_run(self, new: NewRun) -> NewRun:
        """A run as it may be made: in this tenant, for this user.

        Raises:
            Forbidden: it may not.
        """
        return self.named(msgspec.structs.replace(new, scope=Scope(self.tenant)))

    def config(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A config as factories get it that make a graph to be looked at: with who looks, if that is known.

        Args:
            given: an assistant's; what it claims of a user is none.
        """
        config = dict(given or {})
        if self.user is not None:
            proved = {**configurable(self.user), USER: User(self.user)}
            config["configurable"] = {**(config.get("configurable") or {}), **proved}
        return config

    def named(self, new: NewRun) -> NewRun:
        """A run that says whose it is, and in its config who asks.

        The user is marked, since without one a request can write these keys into its config itself.
        """
        if self.tenant != DEFAULT_TENANT:
            new.kwargs["tenant"] = self.tenant
        if self.user is not None:
            new.kwargs["config"]["configurable"] |= configurable(self.user)
            new.kwargs["authenticated"] = True
        return new
