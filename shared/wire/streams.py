"""What the readers of all streams share: order, the end, and failure.

Deltas read before a failure are handed out first, wherever the bytes were cut; what follows the
end is not read; a stream without its documented end is a failure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from shared.errors import EngineFailed, OcrError
from shared.ocr import Delta, Done

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Framer(Protocol[Item_co]):
    """Cuts bytes into lines or events."""

    def feed(self, data: bytes) -> Iterator[Item_co]: ...

    def close(self) -> Sequence[Item_co]: ...


class StreamReader(ABC, Generic[Item]):
    """Feeds bytes through a framer and reads each line or event as hub deltas."""

    __slots__ = ("_ended", "_error", "_framer")

    def __init__(self, framer: Framer[Item]) -> None:
        self._framer = framer
        self._ended = False
        self._error: OcrError | None = None

    @abstractmethod
    def _read(self, item: Item) -> list[Delta]:
        """The deltas of one line or event; raises `OcrError` when it tells of a failure."""

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes.

        Raises:
            OcrError: the stream said it failed; deltas read before that come first.
        """
        return self._read_all(data)

    def close(self) -> list[Delta]:
        """The deltas that only the end of the stream completes; mostly none.

        Raises:
            OcrError: the stream said it failed, or ended without its documented end.
        """
        deltas = self._read_all(None)
        if not self._ended:
            early = EngineFailed("the answer ended early", detail="a stream without its end")
            raise self._error or early
        return deltas

    def _read_all(self, data: bytes | None) -> list[Delta]:
        """Read `data`, or at its `None` what the end completes."""
        deltas: list[Delta] = []
        if self._ended or self._error is not None:
            return self._hand_out(deltas)
        try:
            items = self._framer.close() if data is None else self._framer.feed(data)
            for item in items:
                deltas += self._read(item)
                if deltas and isinstance(deltas[-1], Done):
                    self._ended = True
                    break
        except OcrError as error:
            self._error = error
        return self._hand_out(deltas)

    def _hand_out(self, deltas: list[Delta]) -> list[Delta]:
        if self._error is not None and not deltas:
            raise self._error
        return deltas
