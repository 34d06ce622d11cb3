"""What a service has found of what it depends on, for whoever asks its /ok."""

from __future__ import annotations

from typing import Any

from treadle.patience import OK, Tell

NOT_YET = "not looked for yet"


class Readiness:
    """The state of each server: `ok`, or what is wrong. It is told from any thread, and read from any other.

    Args:
        needed: servers without which the service takes no work.
        useful: servers that it can do without.
    """

    def __init__(self, needed: tuple[str, ...], useful: tuple[str, ...] = ()) -> None:
        self._needed = needed
        self._services = dict.fromkeys((*needed, *useful), NOT_YET)

    def teller(self, service: str) -> Tell:
        """What is to be told how a server is."""

        def tell(state: str) -> None:
            self._services[service] = state

        return tell

    @property
    def ok(self) -> bool:
        return all(self._services[service] == OK for service in self._needed)

    def view(self) -> dict[str, Any]:
        """As /ok answers it."""
        return {"ok": self.ok, "services": dict(self._services)}
