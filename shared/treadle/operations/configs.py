"""Configs and contexts: what a run has of its own, over what its assistant has."""

from __future__ import annotations

from typing import Any

import msgspec

from treadle.errors import InvalidRequest
from treadle.model import Assistant
from treadle.wire.runs import Config


def either(config: Config | None, context: dict[str, Any] | None) -> dict[str, Any]:
    """The context, or what stands in its place: `configurable` is its older name.

    Raises:
        InvalidRequest: both are given.
    """
    configurable = (None if config is None else config.configurable) or {}
    if context and configurable:
        raise InvalidRequest(
            "context: give either `context` or `config.configurable`, not both; `context` is the newer one."
        )
    return context or configurable


def merged_config(
    assistant: Assistant,
    config: Config | None,
    context: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
) -> dict[str, Any]:
    """A run's config with its metadata in it: key by key, what the run says goes before what its assistant says."""
    base, own = assistant.config, _own(config)
    return {
        **base,
        **own,
        "configurable": {**_mapping(base, "configurable"), **either(config, context)},
        "metadata": {
            **_mapping(base, "metadata"),
            **assistant.metadata,
            **_mapping(own, "metadata"),
            **(metadata or {}),
        },
    }


def merged_context(
    assistant: Assistant, config: Config | None, context: dict[str, Any] | None
) -> dict[str, Any]:
    return {**assistant.context, **either(config, context)}


def thread_config(assistant: Assistant, config: Config | None) -> dict[str, Any]:
    """What a thread shows of the config of its newest run: its `configurable` is the assistant's."""
    return {
        **assistant.config,
        **_own(config),
        "configurable": _mapping(assistant.config, "configurable"),
    }


def _own(config: Config | None) -> dict[str, Any]:
    return {} if config is None else msgspec.to_builtins(config)


def _mapping(config: dict[str, Any], name: str) -> dict[str, Any]:
    return config.get(name) or {}
