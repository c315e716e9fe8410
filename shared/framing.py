"""Lines and server-sent events, cut out of a stream of bytes: bytes in, whole lines or events out.

The readers do no I/O and know no wire format. They may be fed pieces cut anywhere, and the end of
the stream is an input too: `close()`. What is longer than a bound is refused, not gathered.
`feed` is a generator, so that what stands before a fault is handed out first; iterate over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from shared.errors import EngineFailed

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Longest line or event. A whole answer can come as one line (its layout included), and the
largest answers seen are a few MiB; more is a server gone astray."""

BOM: Final = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True):
    """One server-sent event: its data lines joined by newlines, and its type."""

    data: str
    type: str = "message"


class LineReader:
    """Cuts bytes into lines, without their ends.

    LF and CR LF end a line; with `lone_cr` a CR alone does too, as the SSE standard has it.
    """

    __slots__ = ("_bytes_max", "_lone_cr", "_partial", "_skip_lf", "_waiting")

    def __init__(self, *, lone_cr: bool = False, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._lone_cr = lone_cr
        self._bytes_max = bytes_max
        self._partial: list[bytes] = []
        self._waiting = 0
        # A CR at the very end of a piece has ended its line already; an LF that then opens the
        # next piece belongs to it.
        self._skip_lf = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes."""
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if self._lone_cr and b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *heads, tail = data.split(b"\n")
        for head in heads:
            self._keep(head)
            line = b"".join(self._partial)
            self._partial, self._waiting = [], 0
            yield line if self._lone_cr else line.removesuffix(b"\r")
        self._keep(tail)

    def close(self) -> list[bytes]:
        """The last line, when the stream ended before its end."""
        rest = b"".join(self._partial)
        self._partial, self._waiting = [], 0
        return [rest] if rest else []

    def _keep(self, data: bytes) -> None:
        self._waiting += len(data)
        if self._waiting > self._bytes_max:
            raise EngineFailed(
                "the answer is too long for one line",
                detail=f"a line of more than {self._bytes_max} bytes",
            )
        if data:
            self._partial.append(data)


class EventReader:
    """Cuts bytes into server-sent events; comments, ids and retry hints are passed over."""

    __slots__ = ("_bytes_max", "_data", "_first", "_lines", "_size", "_type")

    def __init__(self, *, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._lines = LineReader(lone_cr=True, bytes_max=bytes_max)
        self._bytes_max = bytes_max
        self._data: list[bytes] = []
        self._size = 0
        self._type = "message"
        self._first = True

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes."""
        for line in self._lines.feed(data):
            event = self._line(line)
            if event is not None:
                yield event

    def close(self) -> list[Event]:
        """The last event, when the stream ended before its blank line.

        The SSE standard drops such an event, but servers do end with a bare `data: [DONE]`; a cut
        inside its data is the wire reader's to notice.
        """
        for line in self._lines.close():
            self._line(line)
        event = self._line(b"")
        return [] if event is None else [event]

    def _line(self, line: bytes) -> Event | None:
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value)
            if self._size > self._bytes_max:
                raise EngineFailed(
                    "the answer is too long for one event",
                    detail=f"an event of more than {self._bytes_max} bytes",
                )
            self._data.append(value)
        elif name == b"event":
            self._type = read_utf8(value)
        return None

    def _dispatch(self) -> Event | None:
        lines, kind = self._data, self._type
        self._data, self._size, self._type = [], 0, "message"
        return Event(read_utf8(b"\n".join(lines)), kind) if lines else None


def write_event(data: str) -> bytes:
    """One event. A newline inside `data` makes further `data:` lines, as the standard has it."""
    return f"data: {data.replace(chr(10), f'{chr(10)}data: ')}\n\n".encode()


def read_utf8(data: bytes) -> str:
    """Text of a whole line or event.

    Raises:
        EngineFailed: the bytes are not UTF-8, so whoever sent them did not mean what we read.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise EngineFailed("the answer is not UTF-8", detail=str(error)) from error
