"""A stream that passes through as it is, cut only where one of its frames ends.

So whatever has to be said in the service's place - a failure, the end of a runaway - is said in
whole frames.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

from shared.http import NDJSON, SSE
from shared.ocr import Delta

FRAME_ENDS: Final = {SSE: b"\n\n", NDJSON: b"\n"}

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one frame that has not ended yet; `shared.framing` reads no longer line either."""


class Reader(Protocol):
    """A wire's reader of streams."""

    def feed(self, data: bytes) -> list[Delta]: ...

    def close(self) -> list[Delta]: ...


async def whole_frames(chunks: AsyncIterator[bytes], media_type: str) -> AsyncIterator[bytes]:
    """The same bytes, each piece ending where a frame ends; the last as it is."""
    end = FRAME_ENDS[media_type]
    kept = b""
    async for chunk in chunks:
        kept += chunk
        cut = kept.rfind(end)
        if cut >= 0:
            yield kept[: cut + len(end)]
            kept = kept[cut + len(end) :]
    if kept:
        yield kept


def media_type_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
