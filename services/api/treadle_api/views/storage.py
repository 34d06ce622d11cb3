"""What a thread's checkpoints take, as clients get it."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from treadle.db.checkpoints import Storage, Stored


class ChannelStorage(Struct):
    versions: int
    bytes: int


class ChannelsStorage(Struct):
    count: int
    bytes: int
    by_channel: dict[str, ChannelStorage]


class StorageView(Struct):
    """Bytes as they are stored, in all and by what they are for."""

    thread_id: UUID
    total_bytes: int
    checkpoints: Stored
    channel_values: ChannelsStorage
    pending_writes: Stored


def storage_view(thread_id: UUID, storage: Storage) -> StorageView:
    channels = ChannelsStorage(
        count=sum(stored.count for stored in storage.channels.values()),
        bytes=sum(stored.bytes for stored in storage.channels.values()),
        by_channel={
            name: ChannelStorage(stored.count, stored.bytes) for name, stored in storage.channels.items()
        },
    )
    return StorageView(
        thread_id=thread_id,
        total_bytes=storage.checkpoints.bytes + channels.bytes + storage.pending_writes.bytes,
        checkpoints=storage.checkpoints,
        channel_values=channels,
        pending_writes=storage.pending_writes,
    )
