"""What a fault is to the suite."""

from __future__ import annotations

import random
from typing import Protocol

from tests.chaos.site import Between, Site


class Fault(Protocol):
    """One way to do harm. Two may strike at the same time, also two that know nothing of each other."""

    @property
    def name(self) -> str:
        """What it does to whom, as it is shown: `worker: kill -9`."""
        ...

    @property
    def links(self) -> frozenset[Between]:
        """The connections that must lead through a proxy for it; empty for most. See `Site.links`."""
        ...

    async def strike(self, site: Site, chance: random.Random) -> str:
        """Do the harm, keep it up for as long as it lasts, undo it; returns when it is undone: what it hit, or nothing where
        nobody was there to be hit.

        Everything that is left to chance comes from `chance`. A strike that is cancelled undoes what it did. It does
        not wait for services to recover, since another fault may keep them from it; dead ones are replaced by the site.
        """
        ...
