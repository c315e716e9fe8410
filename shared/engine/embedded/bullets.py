"""Finds the bullets of lists that stand apart from their words: detection leaves out most of
them, or boxes them alone. Looks at ink to the left of lines; dashes and numbers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.engine.embedded.bounds import height, is_slanted, overlap_x, overlap_y, width
from shared.engine.embedded.lines import Bounds, Span
from shared.engine.embedded.sheet import Sheet

REACH: Final = 2.2
"""A bullet stands at most this far to the left, in heights of its line (as all that follows)."""
SIDES: Final = (0.14, 0.55)
"""How wide and how high it is; a full stop is less and a letter more."""
MIDDLE: Final = (0.3, 0.72)
"""Between these its centre lies, from the top of the line; a full stop lies lower."""
ROUND: Final = 1.5
"""A bullet is hardly wider than high; a dash is."""
FILLED: Final = 0.6
"""Share of its box that is ink: a disc fills 0.79, a letter half."""
CLEAR: Final = 0.5
"""Nothing else stands so close to its left."""
ALONE: Final = 2
"""So many bullets of one size stand below one another, or they are specks."""
INK_STEP: Final = 60
"""How much ink differs from paper at least, of 255."""


def with_bullets(sheet: Sheet, spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans, those marked that have a bullet to their left, and without boxes of bullets."""
    found: dict[int, Bounds] = {}
    for span in spans:
        if span.vertical or is_slanted(span) or width(span.box) < 2 * height(span.box):
            continue
        bullet = _bullet(sheet, span)
        if bullet is not None and not _taken(bullet, span, spans):
            found[span.index] = bullet
    kept = {index: box for index, box in found.items() if _in_a_list(box, found)}
    if not kept:
        return tuple(spans)
    return tuple(
        msgspec.structs.replace(span, bullet=True) if span.index in kept else span
        for span in spans
        if not any(_is_box_of(span, bullet) for bullet in kept.values())
    )


def _bullet(sheet: Sheet, span: Span) -> Bounds | None:
    """The blob of ink next to the left of a line, when it is like a bullet."""
    across, down = sheet.scale
    left, top, _, bottom = span.box
    tall = bottom - top
    first, last = max(0, int((left - REACH * tall) / across)), int(left / across)
    upper, lower = max(0, int(top / down)), int(bottom / down)
    if last - first < 2 or lower - upper < 2:
        return None
    found = _blob(_ink(sheet.pixels[upper:lower, first:last]), CLEAR * tall / across)
    if found is None:
        return None
    box = (
        (first + found[0]) * across,
        (upper + found[1]) * down,
        (first + found[2]) * across,
        (upper + found[3]) * down,
    )
    sides = sorted((width(box), height(box)))
    centre = ((box[1] + box[3]) / 2 - top) / tall
    fits = SIDES[0] * tall <= sides[0] and sides[1] <= SIDES[1] * tall
    return box if fits and sides[1] <= ROUND * sides[0] and MIDDLE[0] < centre < MIDDLE[1] else None


def _ink(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    dark: NDArray[np.bool_] = cv2.absdiff(grey, float(np.median(grey))) > INK_STEP
    return dark


def _blob(ink: NDArray[np.bool_], clear: float) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the last run of inked columns, if it is solid and alone."""
    columns = np.flatnonzero(ink.any(axis=0))
    if not len(columns) or columns[-1] == ink.shape[1] - 1:
        return None
    breaks = np.flatnonzero(np.diff(columns) > 1)
    start = int(columns[breaks[-1] + 1]) if len(breaks) else int(columns[0])
    if (len(breaks) and start - columns[breaks[-1]] < clear) or start == 0:
        return None
    end = int(columns[-1]) + 1
    rows = np.flatnonzero(ink[:, start:end].any(axis=1))
    upper, lower = int(rows[0]), int(rows[-1]) + 1
    solid = ink[upper:lower, start:end].mean() >= FILLED
    return (start, upper, end, lower) if solid else None


def _taken(bullet: Bounds, span: Span, spans: Sequence[Span]) -> bool:
    """Another line reaches there: it is that line's last sign."""
    return any(
        other is not span
        and overlap_x(other.box, bullet) > 0
        and overlap_y(other.box, bullet) > 0
        and not _is_box_of(other, bullet)
        for other in spans
    )


def _is_box_of(span: Span, bullet: Bounds) -> bool:
    """A box that was detected around a bullet and nothing else."""
    shared = min(overlap_x(span.box, bullet), overlap_y(span.box, bullet))
    return shared > 0 and max(width(span.box), height(span.box)) <= 4 * max(
        width(bullet), height(bullet)
    )


def _in_a_list(box: Bounds, found: Mapping[int, Bounds]) -> bool:
    size = max(width(box), height(box))
    like = [
        other
        for other in found.values()
        if abs(other[0] - box[0]) <= size
        and abs(max(width(other), height(other)) - size) <= max(2.0, 0.3 * size)
    ]
    return len(like) >= ALONE
