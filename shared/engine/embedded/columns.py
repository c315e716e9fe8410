"""The columns of a table without vertical rulings: places that no line, or hardly any, crosses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.engine.embedded.bounds import centre_x, overlap, width
from shared.engine.embedded.lines import Bounds

Column = tuple[float, float]
"""Left and right edge of what stands in it."""

CROSSED_SHARE: Final = 0.12
"""So many of the rows may cross a gap between columns: heads and notes over several columns."""
HEADED_SHARE: Final = 0.35
"""So many may, when clearly more rows have a cell on either side of the gap."""
PARTED_ROWS_MIN: Final = 4
PARTED_RATIO: Final = 1.5
GAP_EM: Final = 0.1
"""Gaps between columns are at least this wide; detected boxes are wider than their letters."""
COVERED_SHARE: Final = 0.5
"""A line reaches over every column of which it covers this much."""


def find_columns(rows: Sequence[Sequence[Bounds]], em: float) -> list[Column]:
    """The columns of rows of boxes, from left to right."""
    telling = [row for row in rows if len(row) > 1] or list(rows)
    allowed = int(CROSSED_SHARE * len(telling))
    gaps = _gaps(telling, allowed, em)
    boxes = [box for row in telling for box in row]
    if not boxes:
        return []
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    edges = [left, *(edge for gap in gaps for edge in gap), right]
    columns = [(edges[at], edges[at + 1]) for at in range(0, len(edges), 2)]
    columns += _between(gaps, boxes, em)
    columns = [part for column in columns for part in _narrower(column, telling, em)]
    return sorted(column for column in columns if column[1] - column[0] > GAP_EM * em)


def _narrower(column: Column, rows: Sequence[Sequence[Bounds]], em: float) -> list[Column]:
    """A column cut where most of its rows have a gap, although section heads run across it."""
    inside = [[box for box in row if column[0] <= centre_x(box) <= column[1]] for row in rows]
    filled = [row for row in inside if row]
    for gap in _gaps(filled, int(HEADED_SHARE * len(filled)), em):
        parted = sum(_parted(row, gap) for row in filled)
        crossed = sum(any(box[0] < gap[0] and gap[1] < box[2] for box in row) for row in filled)
        if parted >= PARTED_ROWS_MIN and parted >= PARTED_RATIO * crossed:
            left, right = (column[0], gap[0]), (gap[1], column[1])
            return [*_narrower(left, rows, em), *_narrower(right, rows, em)]
    return [column]


def _parted(row: Sequence[Bounds], gap: Column) -> bool:
    middle = (gap[0] + gap[1]) / 2
    return any(box[2] <= middle for box in row) and any(box[0] >= middle for box in row)


def _gaps(rows: Sequence[Sequence[Bounds]], allowed: int, em: float) -> list[Column]:
    """Stretches that at most `allowed` rows cross, inside the rows' extent."""
    steps: list[tuple[float, int]] = []
    for row in rows:
        for box in row:
            steps += [(box[0], 1), (box[2], -1)]
    steps.sort()
    gaps: list[Column] = []
    count = 0
    start: float | None = None
    for place, step in steps:
        was = count
        count += step
        if was > allowed >= count:
            start = place
        elif was <= allowed < count and start is not None:
            if place - start >= GAP_EM * em:
                gaps.append((start, place))
            start = None
    return gaps


def _between(gaps: Sequence[Column], boxes: Sequence[Bounds], em: float) -> list[Column]:
    """Sparse columns: boxes that stand wholly inside a gap."""
    found: list[Column] = []
    for low, high in gaps:
        inside = sorted(
            (box[0], box[2]) for box in boxes if low - em / 4 <= box[0] and box[2] <= high + em / 4
        )
        for start, end in inside:
            if found and overlap(start, end, *found[-1]) > 0:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            else:
                found.append((start, end))
    return found


def reach_of(box: Bounds, columns: Sequence[Column]) -> tuple[int, int]:
    """The first and last column a box stands in."""
    shared = [overlap(box[0], box[2], *column) for column in columns]
    hit = [
        at
        for at, (low, high) in enumerate(columns)
        if shared[at] > COVERED_SHARE * min(high - low, width(box))
    ]
    if hit:
        return hit[0], hit[-1]
    middle = centre_x(box)
    nearest = min(
        range(len(columns)), key=lambda at: abs((columns[at][0] + columns[at][1]) / 2 - middle)
    )
    return nearest, nearest
