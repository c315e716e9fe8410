"""Arithmetic on boxes: sizes, overlaps, unions. Knows nothing of pages, text or tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from shared.engine.embedded.lines import Bounds, Span

SLANT_MIN = 0.2
"""Rise over run from which a line counts as slanted (about 11 degrees); scans lean less."""

MARGIN_EM = 0.12
"""Detected boxes reach so far beyond the first and last letter, so that cells may touch."""

EM_EMPTY = 20.0
"""The height of a line, in pixels, that stands in where there is no line to measure."""


class Shelves:
    """Things by how high they stand on the page, so that those at one level are found without a
    look at all the others.

    Args:
        step: the height of a shelf, about that of what stands on it.
    """

    def __init__(self, step: float) -> None:
        self._step = max(1.0, step)
        self._shelves: defaultdict[int, list[int]] = defaultdict(list)

    def put(self, number: int, box: Bounds) -> None:
        for shelf in self._at(box):
            self._shelves[shelf].append(number)

    def near(self, box: Bounds) -> list[int]:
        """The numbers of what may stand at the level of a box, in order, each once."""
        return sorted({n for shelf in self._at(box) for n in self._shelves.get(shelf, ())})

    def _at(self, box: Bounds) -> range:
        return range(int(box[1] // self._step), int(box[3] // self._step) + 1)


def width(box: Bounds) -> float:
    return box[2] - box[0]


def height(box: Bounds) -> float:
    return box[3] - box[1]


def centre_x(box: Bounds) -> float:
    return (box[0] + box[2]) / 2


def centre_y(box: Bounds) -> float:
    return (box[1] + box[3]) / 2


def area(box: Bounds) -> float:
    return max(0.0, width(box)) * max(0.0, height(box))


def overlap(low: float, high: float, other_low: float, other_high: float) -> float:
    """The length two intervals share, negative (the gap) when they share none."""
    return min(high, other_high) - max(low, other_low)


def overlap_x(a: Bounds, b: Bounds) -> float:
    return overlap(a[0], a[2], b[0], b[2])


def overlap_y(a: Bounds, b: Bounds) -> float:
    return overlap(a[1], a[3], b[1], b[3])


def share_inside(inner: Bounds, outer: Bounds) -> float:
    """Which share of `inner`'s area lies in `outer`."""
    shared = max(0.0, overlap_x(inner, outer)) * max(0.0, overlap_y(inner, outer))
    return shared / max(1.0, area(inner))


def union(boxes: Iterable[Bounds]) -> Bounds:
    """The smallest box around all; there must be one."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def grown(box: Bounds, by: float) -> Bounds:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def same_row(a: Bounds, b: Bounds) -> bool:
    """Both stand on one printed line: they share half of the lower one's height."""
    return overlap_y(a, b) >= 0.5 * min(height(a), height(b))


def line_height(span: Span) -> float:
    """The height of the letters, also of slanted and vertical lines."""
    if span.vertical:
        return width(span.box)
    (x0, y0), _, _, (x3, y3) = span.quad
    side = ((x3 - x0) ** 2 + (y3 - y0) ** 2) ** 0.5
    return min(side, height(span.box)) if side else height(span.box)


def em_of(spans: Iterable[Span]) -> float:
    """The usual height of a line: the unit of all distances on the page."""
    return median([line_height(span) for span in spans] or [EM_EMPTY]) or EM_EMPTY


def is_slanted(span: Span) -> bool:
    """The line climbs or falls, as the turned heads of narrow table columns do."""
    (x0, y0), (x1, y1), _, _ = span.quad
    return not span.vertical and abs(y1 - y0) > SLANT_MIN * abs(x1 - x0)


def foot(span: Span) -> Bounds:
    """Where the letters stand: the box without its margins at both ends, or for a slanted line a
    square at its first letter."""
    if not is_slanted(span):
        left, top, right, bottom = span.box
        margin = min(MARGIN_EM * (bottom - top), (right - left) / 4)
        return left + margin, top, right - margin, bottom
    (x0, y0), _, _, (x3, y3) = span.quad
    x, y, half = (x0 + x3) / 2, (y0 + y3) / 2, line_height(span) / 2
    return x - half, y - half, x + half, y + half
