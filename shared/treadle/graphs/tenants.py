"""The `tenants` section of langgraph.json: what share each has, and how much of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from treadle.errors import ConfigError
from treadle.identity.caller import MAX_TENANT_CHARACTERS

# Whoever is not named.
OTHERS = "*"


class TenantSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one tenant has of each route.

    Args:
        weight: runs of this tenant that begin for each one of a tenant of weight 1, where both have runs that wait.
        concurrency: threads of this tenant that may be in work at the same time; None: any number.
        starts_per_minute: runs of this tenant that may begin in a minute; None: any number.
    """

    weight: Annotated[float, Meta(gt=0, le=1000)] = 1
    concurrency: Annotated[int, Meta(ge=1)] | None = None
    starts_per_minute: Annotated[float, Meta(gt=0)] | None = None


class Shares:
    """The shares of all tenants.

    Attributes:
        by_tenant: as `treadle.admit` wants them.
        limited: whether any tenant has a limit of its own.
    """

    def __init__(self, sections: Mapping[str, TenantSection]) -> None:
        self.by_tenant: dict[str, dict[str, Any]] = {
            tenant: msgspec.to_builtins(section) for tenant, section in sections.items()
        }
        self.limited = any(
            section.concurrency is not None or section.starts_per_minute is not None
            for section in sections.values()
        )


def checked_tenants(path: Path, tenants: Mapping[str, TenantSection]) -> Mapping[str, TenantSection]:
    """The section, if its names can be those of tenants.

    Raises:
        ConfigError: one cannot.
    """
    for name in tenants:
        if not 1 <= len(name) <= MAX_TENANT_CHARACTERS or not name.isprintable():
            raise ConfigError(
                f"{path}: `tenants` has the name {name!r}: a tenant's name is 1 to {MAX_TENANT_CHARACTERS} printable characters, or "
                f"`{OTHERS}` for all that are not named."
            )
    return tenants
