"""Parts of messages, as langchain's messages have their content, and the other way round."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, cast

from a2a.helpers.proto_helpers import new_data_part, new_text_part
from a2a.types.a2a_pb2 import Message, Part, Role
from google.protobuf.json_format import MessageToDict

# Kinds of langchain's content blocks, by the first half of a media type.
BLOCKS = {"image": "image", "audio": "audio", "video": "video"}
ROLES = {Role.ROLE_AGENT: "assistant"}


def data_of(message: Message) -> dict[str, Any]:
    """What the data parts hold, put together; data that is no object is under `value`."""
    found: dict[str, Any] = {}
    for part in message.parts:
        if part.WhichOneof("content") == "data":
            data = _whole(MessageToDict(part.data))
            found |= cast("dict[str, Any]", data) if isinstance(data, dict) else {"value": data}
    return found


def _whole(value: Any) -> Any:
    """With whole numbers as such: on the way here every number has become a float."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_whole(item) for item in cast("list[Any]", value)]
    return value


def chat_message(message: Message) -> dict[str, Any] | None:
    """The text and the files as one message of a conversation; None where there is only data."""
    blocks = [block for part in message.parts if (block := _block(part)) is not None]
    if not blocks:
        return None
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    return {
        "role": ROLES.get(message.role, "user"),
        "content": "\n".join(texts) if len(texts) == len(blocks) else blocks,
        "id": message.message_id,
    }


def _block(part: Part) -> dict[str, Any] | None:
    kind = part.WhichOneof("content")
    if kind == "text":
        return {"type": "text", "text": part.text}
    if kind not in ("raw", "url"):
        return None
    media_type = part.media_type or "application/octet-stream"
    given = {"base64": base64.b64encode(part.raw).decode()} if kind == "raw" else {"url": part.url}
    named = {"filename": part.filename} if part.filename else {}
    return {
        "type": BLOCKS.get(media_type.partition("/")[0], "file"),
        "mime_type": media_type,
        **given,
        **named,
    }


def text_of(content: Any) -> str:
    """The text in the content of one of langchain's messages."""
    if isinstance(content, str):
        return content
    blocks = cast("Iterable[Any]", content) if isinstance(content, list) else ()
    return "".join(_text_of_block(block) for block in blocks)


def _text_of_block(block: Any) -> str:
    if isinstance(block, Mapping):
        text = cast("Mapping[str, Any]", block).get("text")
        return text if isinstance(text, str) else ""
    return block if isinstance(block, str) else ""


def part_of(value: Any) -> Part:
    """Any JSON value as a part."""
    return new_text_part(value) if isinstance(value, str) else new_data_part(value)
