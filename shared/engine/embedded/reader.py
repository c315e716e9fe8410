"""Reads the lines of one page: PP-OCRv6 first, Tesseract where the script is not PP-OCRv6's.

Everything here runs in the crew's threads, several at once for one page; what the page's language
is gets settled once, under a lock. How a page is turned or composed is decided elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from shared.engine.embedded import scripts
from shared.engine.embedded.items import BULLETS
from shared.engine.embedded.lines import Line, Span
from shared.engine.embedded.models import (
    WIDTH_USUAL_PX,
    Models,
    Pixels,
    Reading,
    recogniser_width,
)
from shared.engine.embedded.sheet import Sheet, crop, sides
from shared.engine.embedded.tesseract import Tesseract
from shared.engine.embedded.upright import Probe
from shared.ocr import Category

TRIES_MAX: Final = 3
"""Times a page's language is looked for, on different lines, before it is given up."""

WORD_GAP: Final = 0.9
"""Words of one line stand closer than this share of its height."""

SAME_ROW: Final = 0.6
"""Words of one line share so much of their height."""

UNREAD_SHARE: Final = 0.25
"""From this share of a page's length of lines on, unread lines are worth a note: below are
signatures, stamps and ornaments."""

SURE_SCORE: Final = 0.985
"""A line read worse is looked at once more; one in ten is, and hardly any of a clean page."""

WIDER: Final = (0.08, 0.06)
"""How much wider the second look is, in line heights at the ends, and above and below. A pixel
decides between `C` and `℃`, `..` and `…`: of two looks the surer one is right more often."""

HEAD_SCORE: Final = 0.6
"""A line read worse is tried upside down: stamps, and labels on a drawing."""


class PageReader:
    """Reads one page's lines.

    Args:
        hint: the request's language, in the client's words.
        probe: lines that were read already, to find out how the page lies.
    """

    def __init__(
        self, models: Models, tesseract: Tesseract, sheet: Sheet, *, hint: str | None, probe: Probe
    ) -> None:
        self._models = models
        self._tesseract = tesseract
        self._sheet = sheet
        self._hint = hint
        self._known = dict(zip(probe.spans, probe.readings, strict=True))
        self._lock = threading.Lock()
        self._tries = 0
        self._length = self._unread = 0.0
        self.language: str | None = None
        """The language besides PP-OCRv6's that the page holds, once it is known."""
        self.foreign = False
        """Most of the page is in that language."""
        self._look_at(probe)

    def read(self, spans: Sequence[Span]) -> list[Line]:
        """Read some of the page's lines."""
        return [self._line(span) for span in spans]

    def joined(self, category: Category, spans: Sequence[Span]) -> tuple[Span, ...]:
        """The spans to read a block by: words of one line together, where Tesseract reads it.

        Detection parts Korean words, and their neighbours' edges come out as letters of their own.
        """
        if not self.foreign or category is Category.TABLE:
            return tuple(spans)
        rows: list[Span] = []
        for span in spans:
            if rows and _continues(rows[-1], span):
                rows[-1] = _union(rows[-1], span)
            else:
                rows.append(span)
        return tuple(rows)

    def note(self) -> str | None:
        """What the operator should know once lines were read, or nothing."""
        hinted = scripts.language_of(self._hint)
        if hinted in scripts.SCRIPT_OF and hinted not in self._tesseract.languages and self._length:
            return scripts.missing_note(self._hint, self._tesseract.languages)
        if self._unread >= UNREAD_SHARE * self._length > 0:
            return scripts.missing_note(self._hint, self._tesseract.languages)
        return None

    def _look_at(self, probe: Probe) -> None:
        """Settle the language at once when the page's longest lines already show it."""
        pairs = list(zip(probe.crops, probe.readings, strict=True))
        unread = [pixels for pixels, reading in pairs if scripts.is_doubtful(pixels, reading)]
        hinted = scripts.language_of(self._hint)
        if hinted in scripts.SCRIPT_OF and hinted in self._tesseract.languages:
            self.language, self.foreign = hinted, True
        elif unread:
            self._settle(unread)
            self.foreign = self.language is not None and 2 * len(unread) >= len(pairs)
        if self.foreign:
            self._known.clear()

    def _line(self, span: Span) -> Line:
        pixels = crop(self._sheet, span)
        if self.foreign and self.language is not None:
            second = self._second(pixels, self.language)
            if scripts.speaks(self.language, second):
                return self._counted(span, second, read=True)
            reading = scripts.better(self.language, self._first(span, pixels), second)
            return self._counted(span, reading, read=not scripts.is_unread(pixels, reading))
        reading = self._first(span, pixels)
        if scripts.is_doubtful(pixels, reading):
            reading = self._doubtful(pixels, reading)
        return self._counted(span, reading, read=not scripts.is_unread(pixels, reading))

    def _first(self, span: Span, pixels: Pixels) -> Reading:
        reading = self._known.get(span) or self._models.recognise(pixels)
        if reading.score >= SURE_SCORE:
            return reading
        if reading.score >= HEAD_SCORE:
            return self._looked_again(span, pixels, reading)
        other = self._models.recognise(np.rot90(pixels, 2))
        return other if other.score > reading.score + 0.2 else reading

    def _looked_again(self, span: Span, pixels: Pixels, reading: Reading) -> Reading:
        height, width = pixels.shape[:2]
        # Of short lines the recogniser takes a second look of its own.
        short = recogniser_width(width, height) < WIDTH_USUAL_PX
        if short or scripts.is_unread(pixels, reading):
            return reading
        again = self._models.recognise(crop(self._sheet, span, wider=WIDER))
        return again if again.score > reading.score else reading

    def _second(self, pixels: Pixels, language: str) -> Reading:
        installed = self._tesseract.languages
        return self._tesseract.read(pixels, scripts.with_latin(language, installed))

    def _doubtful(self, pixels: Pixels, reading: Reading) -> Reading:
        if self.language is None:
            self._settle([pixels])
        language = self.language
        if language is None:
            return reading
        return scripts.better(language, reading, self._second(pixels, language))

    def _settle(self, samples: Iterable[Pixels]) -> None:
        """Find the installed language that reads these lines best, if any really does."""
        with self._lock:
            if self.language is not None or self._tries >= TRIES_MAX:
                return
            self._tries += 1
            longest = sorted(samples, key=lambda pixels: pixels.shape[1], reverse=True)[:2]
            installed = self._tesseract.languages
            best = self._best(scripts.candidates(installed, self._hint), longest)
            if best is not None:
                self.language = self._best((best, *scripts.rivals(best, installed)), longest)

    def _best(self, codes: Iterable[str], samples: Sequence[Pixels]) -> str | None:
        """The language that is surest of these lines, the first of equals."""
        marks: dict[str, float] = {}
        for code in codes:
            readings = [self._tesseract.read(pixels, code) for pixels in samples]
            sure = [reading.score for reading in readings if scripts.speaks(code, reading)]
            if sure:
                marks[code] = sum(sure)
        return max(marks, key=lambda code: marks[code]) if marks else None

    def _counted(self, span: Span, reading: Reading, *, read: bool) -> Line:
        length = max(sides(span.quad))
        with self._lock:
            self._length += length
            self._unread += 0.0 if read else length
        text = reading.text.strip() if reading.score >= scripts.DROP_SCORE else ""
        if span.bullet and text and text[0] not in BULLETS:
            text = f"{BULLETS[0]} {text}"
        return Line(span, text, reading.score)


def foreign_confidence(tesseract: Tesseract, pixels: Pixels, hint: str | None) -> float:
    """How sure the best of Tesseract's installed languages is of a line, 0 when none fits."""
    return max(
        (
            reading.score
            for code in scripts.candidates(tesseract.languages, hint)
            if scripts.speaks(code, reading := tesseract.read(pixels, code))
        ),
        default=0.0,
    )


def _continues(row: Span, span: Span) -> bool:
    if row.vertical or span.vertical:
        return False
    (left, top, right, bottom), other = row.box, span.box
    height = min(bottom - top, other[3] - other[1])
    shared = min(bottom, other[3]) - max(top, other[1])
    return shared >= SAME_ROW * height and left < other[0] < right + WORD_GAP * height


def _union(row: Span, span: Span) -> Span:
    a, b = row.box, span.box
    return msgspec.structs.replace(
        row,
        quad=(row.quad[0], span.quad[1], span.quad[2], row.quad[3]),
        box=(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])),
    )
