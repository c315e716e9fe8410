"""Watches an answer for a runaway, and says at its end that it was one."""

from __future__ import annotations

from datetime import datetime

from router.endings import mark
from router.guard import Guard, GuardSettings
from shared.ocr import (
    Delta,
    Done,
    Stop,
    Usage,
)
from shared.streams import DeltaWriter
from shared.tokens import count_tokens


class Watch:
    """A guard, and the tokens of what it has let pass: a stream that is stopped tells none."""

    def __init__(self, settings: GuardSettings, prompt: str) -> None:
        self._guard = Guard(settings)
        self._prompt = prompt
        self._pieces: list[str] = []

    @property
    def where(self) -> str:
        return str(self._guard.where)

    @property
    def is_runaway(self) -> bool:
        return self._guard.where is not None

    def caught(self, text: str) -> bool:
        self._pieces.append(text)
        return self._guard.feed(text)

    def usage(self) -> Usage:
        return Usage(count_tokens(self._prompt), count_tokens("".join(self._pieces)))


class Marked:
    """A dialect's writer that says in a comment why a runaway stream ends."""

    def __init__(self, writer: DeltaWriter) -> None:
        self._writer = writer
        self.media_type = writer.media_type
        self.start = writer.start
        self.fail = writer.fail

    def write(self, delta: Delta, at: datetime) -> bytes:
        written = self._writer.write(delta, at)
        if isinstance(delta, Done) and delta.stop is Stop.REPETITION:
            return mark(self.media_type) + written
        return written
