"""How a round is played again."""

from __future__ import annotations

import shlex

from tests.chaos.plan import Scale


def replay(seed: int, scale: Scale, only: str | None = None, *, calm: bool = False) -> str:
    """The command that plays the same round again: its seed, and all else that is not as usual."""
    usual, options = Scale(), list[str]()
    for name, value, default in (
        ("--threads", scale.threads, usual.threads),
        ("--secs", scale.load_secs, usual.load_secs),
        ("--outage", scale.outage_secs, usual.outage_secs),
    ):
        options += [] if value == default else [name, f"{value:g}"]
    options += [] if only is None else ["--only", shlex.quote(only)]
    options += ["--calm"] if calm else []
    command = f"make chaos SEED={seed}"
    return f"{command} ARGS={shlex.quote(' '.join(options))}" if options else command
