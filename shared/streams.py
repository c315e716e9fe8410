"""Hub deltas as a streamed answer: the first one before the status line, then frame by frame in a
wire's own bytes. Knows no engine and no wire by name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Protocol
from uuid import uuid4

import structlog

from shared.errors import EngineFailed, OcrError
from shared.exchange import Exchange, Streaming
from shared.ocr import Delta
from shared.wire.answers import Stamp

log = structlog.get_logger("ocr_fleet.service")


class DeltaWriter(Protocol):
    """A wire's writer of one stream: bytes for its start, each delta, and a failure in between."""

    @property
    def media_type(self) -> str: ...

    def start(self) -> bytes: ...
    def write(self, delta: Delta, at: datetime) -> bytes: ...
    def fail(self, error: OcrError) -> bytes: ...


async def stream_deltas(
    exchange: Exchange, deltas: AsyncGenerator[Delta, None], writer: DeltaWriter
) -> Streaming:
    """A streamed answer, begun: its first delta is there, so until here a failure keeps its status.

    Raises:
        OcrError: before the first delta.
    """
    first = await exchange.until_hangup(_first(deltas))
    return Streaming(
        media_type=writer.media_type,
        chunks=_frames(exchange, first, deltas, writer),
        source=deltas,
        headers=exchange.headers(),
    )


def now() -> datetime:
    """The time in the server's own zone, which dots writes."""
    return datetime.now().astimezone()


def new_stamp(seconds: float = 0.0) -> Stamp:
    """The id and time of an answer made now."""
    return Stamp(id=uuid4(), at=now(), seconds=seconds)


async def _first(deltas: AsyncGenerator[Delta, None]) -> Delta:
    try:
        return await anext(deltas)
    except StopAsyncIteration as error:
        raise EngineFailed("The answer ended early", detail="no delta at all") from error


async def _frames(
    exchange: Exchange, first: Delta, deltas: AsyncGenerator[Delta, None], writer: DeltaWriter
) -> AsyncGenerator[bytes, None]:
    """The stream's bytes; a failure after the first delta is told in the wire's own way."""
    async with aclosing(deltas):
        try:
            for chunk in (writer.start(), writer.write(first, now())):
                if chunk:
                    yield chunk
            async for delta in deltas:
                if chunk := writer.write(delta, now()):
                    yield chunk
        except OcrError as error:
            exchange.failed(error, error.detail)
            yield writer.fail(error)
        except Exception as error:  # the outermost edge of a stream: its status line is gone
            log.exception("stream_failed", request_id=exchange.request_id)
            exchange.failed(error)
            yield writer.fail(EngineFailed("Internal server error"))
