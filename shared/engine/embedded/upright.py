"""Finds out which way up a page lies: the orientation model first, then what its lines say.

The model sees a small square in the middle of what it is given and tells honestly when it sees too
little, so it is shown the inked part of the page; a few lines, read both ways, settle the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import regex

from shared.engine.embedded.ink import inked_box
from shared.engine.embedded.lines import Span
from shared.engine.embedded.models import Models, Pixels, Reading
from shared.engine.embedded.sheet import Sheet, crop, sides

SURE: Final = 0.7
"""The model says 0.25 to 0.3 of each turn when it sees nothing, and 0.85 to 0.94 when it does."""

PROBES: Final = 4
"""Lines read to judge the turn; they need not be read again."""

PROBE_RATIO: Final = 2.5
"""Only lines this much longer than high tell which way they run."""

WELL_READ: Final = 0.82
"""Upright lines are read with 0.9 and more, lines on their head with 0.3 to 0.75."""

BETTER: Final = 0.15
"""What the other way up must read better by."""

FOREIGN_PROBES: Final = 2
STACK_MAX: Final = 8

Foreign = Callable[[Pixels], float]

_CJK: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
_LETTER: Final = regex.compile(r"\p{L}")


class Sample(msgspec.Struct, frozen=True):
    """The longest lines of a page."""

    spans: tuple[Span, ...]
    crops: tuple[Pixels, ...]
    down: bool
    """Most of the page's lines run down."""

    def read(self, readings: Sequence[Reading]) -> Probe:
        return Probe(self.spans, self.crops, tuple(readings), self.down)


class Probe(msgspec.Struct, frozen=True):
    """The longest lines of a page, and what they read as."""

    spans: tuple[Span, ...]
    crops: tuple[Pixels, ...]
    readings: tuple[Reading, ...]
    down: bool

    @property
    def quality(self) -> float:
        """How well the lines read, 0 to 1; 1 without lines."""
        return quality(self.crops, self.readings)


def first_guess(models: Models, sheet: Sheet) -> int:
    """The turn to try first: what the model is sure of, or none."""
    return _sure_turn(models, _inked(sheet.pixels))


def sample(sheet: Sheet, spans: Sequence[Span]) -> Sample:
    """The longest lines of a page, to be read."""
    shapes = [(max(sides(span.quad)), span) for span in spans]
    long = [(length, span) for length, span in shapes if length >= PROBE_RATIO * _thickness(span)]
    down = sum(n for n, span in long if span.vertical) > sum(n for n, span in long) / 2
    chosen = [span for _, span in sorted(long, key=_length, reverse=True) if span.vertical == down]
    crops = tuple(crop(sheet, span) for span in chosen[:PROBES])
    return Sample(tuple(chosen[:PROBES]), crops, down)


def second_guess(models: Models, sheet: Sheet, found: Probe, foreign: Foreign) -> int:
    """How much further the page must be turned, seeing how its lines read.

    Args:
        models: reads the lines the other way up.
        sheet: the page.
        found: its longest lines.
        foreign: how sure a line is in a script that the models do not read, 0 when it is not.
    """
    if not found.crops or (found.quality >= WELL_READ and not found.down):
        return 0
    heads = tuple(np.rot90(pixels, 2) for pixels in found.crops)
    other = quality(heads, [models.recognise(pixels) for pixels in heads])
    upright, reverse = (90, 270) if found.down else (0, 180)
    if other >= found.quality + BETTER:
        return reverse
    if found.quality >= WELL_READ:
        return _turn_of_columns(models, sheet, found)
    # Neither way reads well: a script that the recogniser does not know, or no text at all.
    if any(foreign(pixels) for pixels in found.crops[:FOREIGN_PROBES]):
        return upright
    if any(foreign(pixels) for pixels in heads[:FOREIGN_PROBES]):
        return reverse
    turn = _sure_turn(models, _stacked(_inked(sheet.pixels)))
    return turn if turn in {upright, reverse} else 0


def _turn_of_columns(models: Models, sheet: Sheet, found: Probe) -> int:
    """Lines run down and read well: columns of Chinese or Japanese, or a page on its side."""
    if not _mostly_cjk(found.readings):
        return 90
    return 90 if models.page_turn(_inked(sheet.pixels))[90] >= SURE else 0


def quality(crops: Sequence[Pixels], readings: Sequence[Reading]) -> float:
    """How well lines read: their scores, less where a line has far too few characters."""
    if not readings:
        return 1.0
    marks = [r.score * fullness(p, r.text) for p, r in zip(crops, readings, strict=True)]
    return sum(marks) / len(marks)


def fullness(pixels: Pixels, text: str) -> float:
    """The share of the characters that a line of that shape has at least, at most 1.

    The widest usual characters, Chinese ones, are as wide as a line is high, with a line's height
    and half of the width left for the white around and between them.
    """
    height, width = pixels.shape[:2]
    least: float = max(1.0, 0.4 * width / max(height, 1))
    return min(1.0, len("".join(text.split())) / least)


def _length(item: tuple[float, Span]) -> float:
    return item[0]


def _thickness(span: Span) -> float:
    return min(sides(span.quad))


def _mostly_cjk(readings: Sequence[Reading]) -> bool:
    text = "".join(reading.text for reading in readings)
    return 2 * len(_CJK.findall(text)) > len(_LETTER.findall(text))


def _sure_turn(models: Models, pixels: Pixels) -> int:
    likely = models.page_turn(pixels)
    turn = max(likely, key=lambda degrees: likely[degrees])
    return turn if likely[turn] >= SURE else 0


def _stacked(pixels: Pixels) -> Pixels:
    """A strip cut into pieces that make about a square: the model sees but the middle square."""
    height, width = pixels.shape[:2]
    along = 1 if width > height else 0
    pieces = min(STACK_MAX, round(math.sqrt(max(width, height) / max(1, min(width, height)))))
    length = max(width, height) // max(1, pieces)
    if pieces < 2 or length < 1:
        return pixels
    cuts = [
        pixels[:, n * length : (n + 1) * length] if along else pixels[n * length : (n + 1) * length]
        for n in range(pieces)
    ]
    return np.concatenate(cuts, axis=1 - along)


def _inked(pixels: Pixels) -> Pixels:
    """The part of the page that is not paper."""
    left, top, right, bottom = inked_box(pixels) or (0, 0, *pixels.shape[1::-1])
    return pixels[top:bottom, left:right]
