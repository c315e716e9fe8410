"""The order in which a person reads boxes on a page: columns, headings across them, sidebars.

Geometry alone; text is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from shared.engine.embedded.bounds import centre_y, height, overlap_x, overlap_y, width
from shared.engine.embedded.lines import Bounds

SHARED_X: Final = 0.05
"""Boxes stand above one another when they share this much of the narrower one's width; less is
two columns whose edges touch."""
SHARED_Y: Final = 0.5
"""Boxes stand side by side when they share this much of the lower one's height."""

CENTRED: Final = 0.02
"""A head stands in the middle up to this share of the whole width."""
LEANING: Final = 0.2
"""Boxes one above the other share up to this much of their height, as detected boxes do."""

BOXES_MAX: Final = 1500
"""With more boxes than any page has blocks it is noise, and read from top to bottom: pairs take
time."""


def reading_order(
    boxes: Sequence[Bounds], *, right_to_left: bool = False, break_px: float = inf
) -> list[int]:
    """The indexes of the boxes in the order in which they are read.

    White space of `break_px` from edge to edge parts the page: all above it comes first. Inside
    such a part two rules give pairs, after T. Breuel, High Performance Document Layout Analysis
    (2003): of
    two boxes above one another the upper comes first; of two side by side the left one, with
    everything in its column, unless a box across both columns parts them.
    """
    if right_to_left:
        boxes = [(-right, top, -left, bottom) for left, top, right, bottom in boxes]
    if len(boxes) > BOXES_MAX:
        return sorted(range(len(boxes)), key=lambda at: (boxes[at][1], boxes[at][0]))
    order: list[int] = []
    for band in _bands(boxes, break_px):
        inside = _with_heads([boxes[at] for at in band])
        order += [band[at] for at in _sorted(inside, _pairs(inside))]
    return order


def _bands(boxes: Sequence[Bounds], break_px: float) -> list[list[int]]:
    bands: list[list[int]] = []
    bottom = -inf
    for at in sorted(range(len(boxes)), key=lambda at: boxes[at][1]):
        if not bands or boxes[at][1] - bottom >= break_px:
            bands.append([])
        bands[-1].append(at)
        bottom = max(bottom, boxes[at][3])
    return bands


def _with_heads(boxes: Sequence[Bounds]) -> list[Bounds]:
    """The boxes; those centred over the others with nothing beside them reach from edge to edge:
    a head over columns parts them however short it is."""
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    near = CENTRED * (right - left)
    return [
        (left, box[1], right, box[3])
        if abs(box[0] + box[2] - left - right) <= 2 * near and _alone(box, boxes)
        else box
        for box in boxes
    ]


def _alone(box: Bounds, boxes: Sequence[Bounds]) -> bool:
    return all(
        other == box or overlap_y(box, other) <= LEANING * min(height(box), height(other))
        for other in boxes
    )


def _pairs(boxes: Sequence[Bounds]) -> list[int]:
    """For each box the set, as bits, of those that must come before it."""
    count = len(boxes)
    stacked = _stacks(boxes)
    higher, lower = [0] * count, [0] * count
    above = 0
    for at in sorted(range(count), key=lambda at: _rank(boxes[at])):
        higher[at] = above
        above |= 1 << at
    for at in range(count):
        lower[at] = above & ~higher[at] & ~(1 << at)
    before = [stacked[at] & higher[at] for at in range(count)]
    by_left = sorted(range(count), key=lambda at: boxes[at][0])
    for place, a in enumerate(by_left):
        for b in by_left[:place]:
            if stacked[a] >> b & 1 or boxes[b][0] == boxes[a][0]:
                continue
            between = (lower[b] & higher[a]) | (higher[b] & lower[a])
            if not between & stacked[a] & stacked[b]:
                before[a] |= 1 << b
    return before


def _stacks(boxes: Sequence[Bounds]) -> list[int]:
    """For each box the set, as bits, of those above or below it."""
    stacked = [0] * len(boxes)
    by_left = sorted(range(len(boxes)), key=lambda at: boxes[at][0])
    for place, a in enumerate(by_left):
        for b in by_left[place + 1 :]:
            if boxes[b][0] > boxes[a][2]:
                break
            if _stacked(boxes[a], boxes[b]):
                stacked[a] |= 1 << b
                stacked[b] |= 1 << a
    return stacked


def _stacked(a: Bounds, b: Bounds) -> bool:
    shared = overlap_x(a, b)
    if shared < SHARED_X * min(width(a), width(b)):
        return False
    # Side by side with ragged edges that reach into each other is still side by side.
    beside = overlap_y(a, b) >= SHARED_Y * min(height(a), height(b))
    return not beside or shared >= 0.5 * min(width(a), width(b))


def _rank(box: Bounds) -> tuple[float, float, float]:
    return centre_y(box), box[0], box[2]


def _sorted(boxes: Sequence[Bounds], before: list[int]) -> list[int]:
    """A topological order; where the pairs run in a circle, the uppermost box breaks it."""
    done = 0
    order: list[int] = []
    waiting = sorted(range(len(boxes)), key=lambda at: (boxes[at][1], boxes[at][0]))
    while waiting:
        free = [at for at in waiting if not before[at] & ~done]
        chosen = _next(boxes, free, order) if free else waiting[0]
        waiting.remove(chosen)
        done |= 1 << chosen
        order.append(chosen)
    return order


def _next(boxes: Sequence[Bounds], free: list[int], order: list[int]) -> int:
    """Of the boxes that may come next: the one under the last box, else the leftmost column's."""
    if order:
        last = boxes[order[-1]]
        under = [at for at in free if _stacked(boxes[at], last) and _rank(last) < _rank(boxes[at])]
        if under:
            return min(under, key=lambda at: (boxes[at][1], boxes[at][0]))
    return min(free, key=lambda at: (boxes[at][1], boxes[at][0]))
