"""The fleet's own answer, to a request that carries `x-ocr-fleet: 1`: the hub's deltas as NDJSON.

Every text as it comes, then one last line with stop, usage, blocks, sizes and notes, or one with
the error that ended it: nothing is lost. Requests and early errors stay in the service's format.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from shared.errors import Busy, EngineFailed, OcrError
from shared.framing import LineReader
from shared.http import NDJSON, Incoming
from shared.ocr import Delta, Done, Text
from shared.wire import kinds
from shared.wire.answers import read_answer
from shared.wire.streams import StreamReader

HEADER: Final = "x-ocr-fleet"

VALUE: Final = "1"
"""The version of this format."""


class Failure(msgspec.Struct, frozen=True, tag="error", omit_defaults=True):
    """The last line of a stream that broke."""

    kind: str
    message: str
    retry_after_s: int | None = None


LINES: Final = msgspec.json.Decoder(Text | Done | Failure)


def is_asked(incoming: Incoming) -> bool:
    """Whether the request wants the hub's deltas."""
    return incoming.headers.get(HEADER, "").strip() == VALUE


class DeltaWriter:
    """Writes hub deltas as they are."""

    media_type: ClassVar[str] = NDJSON

    __slots__ = ()

    def start(self) -> bytes:
        return b""

    def write(self, delta: Delta, at: object = None) -> bytes:  # noqa: ARG002 (one signature for all wires)
        return msgspec.json.encode(delta) + b"\n"

    def fail(self, error: OcrError) -> bytes:
        """The last line of a stream that broke; the private detail stays here."""
        retry_after_s = error.retry_after_s if isinstance(error, Busy) else None
        return msgspec.json.encode(Failure(kinds.name_of(error), str(error), retry_after_s)) + b"\n"


class DeltaReader(StreamReader[bytes]):
    """Reads lines as hub deltas."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(LineReader())

    def _read(self, item: bytes) -> list[Delta]:
        if not item.strip():
            return []
        match read_answer(item, LINES):
            case Failure(kind, message, retry_after_s):
                raise _error(kind, message, retry_after_s)
            case delta:
                return [delta]


def _error(kind: str, message: str, retry_after_s: int | None) -> OcrError:
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return kinds.restore(kinds.KINDS.get(kind, EngineFailed), message, headers)
