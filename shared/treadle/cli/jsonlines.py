"""A run as one JSON object per line, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, BinaryIO, Self

from langgraph_sdk.schema import StreamMode, StreamPart

from treadle import json
from treadle.cli.request import Outcome


class JsonLines:
    """Writes each part of the stream as it is: {"event", "data", "id"}; `result` is the last one, and ours."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    @property
    def modes(self) -> Sequence[StreamMode]:
        return ("updates", "messages-tuple", "custom")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def part(self, part: StreamPart) -> None:
        self._write(part.event, part.data, part.id)

    def say(self, text: str) -> None:
        """A program has no use for remarks: the result says the same."""

    async def animate(self) -> None:
        return

    def end(self, outcome: Outcome) -> None:
        result = {
            "status": outcome.status.value,
            "run_id": outcome.run,
            "thread_id": outcome.thread,
            "seconds": round(outcome.seconds, 3),
            "values": outcome.values,
            "interrupts": [asdict(question) for question in outcome.questions],
            "error": outcome.error,
        }
        self._write("result", result, None)

    def _write(self, event: str, data: Any, event_id: str | None) -> None:
        self._out.write(json.encode({"event": event, "data": data, "id": event_id}) + b"\n")
        self._out.flush()
