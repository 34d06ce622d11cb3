"""The names of figures end in their units: `first_event_p50_ms`, `runs_per_s`."""

from __future__ import annotations

UNITS = {"_ms": "ms", "_per_s": "/s", "_kib": "KiB", "_mib": "MiB", "_times": "x"}


def named(figure: str) -> str:
    """`first_event_p50_ms` as `first event p50`."""
    return figure.removesuffix(_suffix(figure)).replace("_", " ")


def unit_of(figure: str) -> str:
    """The unit, empty if there is none."""
    return UNITS.get(_suffix(figure), "")


def number(value: float) -> str:
    """Three digits, or more before the point."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def _suffix(figure: str) -> str:
    return next((suffix for suffix in UNITS if figure.endswith(suffix)), "")
