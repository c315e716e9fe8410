"""Streams of DeepSeek-OCR's format: server-sent events of bare text, not JSON.

A newline inside a text makes further `data:` lines of its event. The end is `[DONE]`, a failure is
`ERROR: ...` without it; its kind does not survive, nor do usage, stop reason and carriage returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from shared.errors import EngineFailed, OcrError
from shared.framing import Event, LineReader, read_utf8, write_event
from shared.ocr import Delta, Done, Text
from shared.wire import deepseek
from shared.wire.answers import Stamp
from shared.wire.streams import StreamReader

END: Final = "[DONE]"

ERROR: Final = "ERROR: "

MORE: Final = "more"
"""The type of an event that is the rest of the one before it."""

LOOKALIKE: Final = re.compile(r"^[^\S\n]*(?=\[DONE\]|ERROR:)", re.MULTILINE)
"""A line of text that a client reading line by line would take for the end or a failure."""


class DeltaWriter:
    """Writes hub deltas as events of text."""

    media_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    __slots__ = ("_call",)

    def __init__(self, call: deepseek.Call, stamp: Stamp) -> None:  # noqa: ARG002 (one signature for all wires)
        self._call = call

    def start(self) -> bytes:
        return b""

    def write(self, delta: Delta, at: object = None) -> bytes:  # noqa: ARG002 (one signature for all wires)
        """The events of one delta."""
        match delta:
            case Text(text):
                return b"".join(write_event(piece) for piece in _pieces(text))
            case Done():
                return write_event(END)

    def fail(self, error: OcrError) -> bytes:
        """The last event of a stream that broke."""
        return write_event(ERROR + deepseek.write_message(error, self._call))


class DeltaReader(StreamReader[Event]):
    """Reads events of text as hub deltas."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(TextEvents())

    def _read(self, item: Event) -> list[Delta]:
        if item.type != MORE:
            if item.data.strip() == END:
                return [Done()]
            if item.data.startswith(ERROR):
                raise EngineFailed(item.data.removeprefix(ERROR))
        return [Text(item.data)] if item.data else []


class TextEvents:
    """Cuts bytes into events of text, of our servers and of the original alike.

    The original does not escape a newline: what follows it stands on a line without `data:`, and a
    blank line may be text. After the one blank line that ends an event, every further one is a
    newline of its text, and a line without `data:` goes on where that text stopped.
    """

    __slots__ = ("_blank", "_data", "_lines", "_type")

    def __init__(self) -> None:
        self._lines = LineReader(lone_cr=True)
        self._data: list[bytes] = []
        self._type = ""
        self._blank = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes."""
        for line in self._lines.feed(data):
            yield from self._line(line)

    def close(self) -> list[Event]:
        """The last event, when the stream ended before its blank line."""
        events = [event for line in self._lines.close() for event in self._line(line)]
        return events + (self._line(b"") if self._data else [])

    def _line(self, line: bytes) -> list[Event]:
        if not line:
            return self._end()
        if line.startswith(b":"):
            return []
        if line.startswith(b"data:"):
            self._type = self._type or "message"
            self._data.append(line[5:].removeprefix(b" "))
        elif self._data:
            self._data.append(line)
        elif self._blank:
            self._type = MORE
            self._data = [b"", b"", line]
        return []

    def _end(self) -> list[Event]:
        if self._data:
            event = Event(read_utf8(b"\n".join(self._data)), self._type)
            self._data, self._type, self._blank = [], "", True
            return [event]
        return [Event("\n", MORE)] if self._blank else []


def _pieces(text: str) -> list[str]:
    """A text in pieces of which no line looks like the end of the stream."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    cuts = [match.end() + 1 for match in LOOKALIKE.finditer(text)]
    starts = [0, *cuts]
    pieces = (text[start:end] for start, end in zip(starts, [*cuts, len(text)], strict=True))
    return [piece for piece in pieces if piece]
