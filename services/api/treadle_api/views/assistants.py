"""Assistants, as clients get them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import Struct

from treadle.model import Assistant, AssistantVersion
from treadle.wire.moments import moment


class AssistantView(Struct):
    assistant_id: UUID
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    name: str
    created_at: str
    updated_at: str
    version: int
    description: str | None


def assistant_view(assistant: Assistant) -> AssistantView:
    return AssistantView(
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        config=assistant.config,
        context=assistant.context,
        metadata=assistant.metadata,
        name=assistant.name,
        created_at=moment(assistant.created_at),
        updated_at=moment(assistant.updated_at),
        version=assistant.version,
        description=assistant.description,
    )


class VersionView(Struct):
    assistant_id: UUID
    version: int
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    created_at: str
    name: str
    description: str | None


def version_view(version: AssistantVersion) -> VersionView:
    return VersionView(
        assistant_id=version.assistant_id,
        version=version.version,
        graph_id=version.graph_id,
        config=version.config,
        context=version.context,
        metadata=version.metadata,
        created_at=moment(version.created_at),
        name=version.name,
        description=version.description,
    )
