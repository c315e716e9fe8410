"""Finds where tables stand on a page: grids of rulings, the layout model's tables, and rows of
short pieces that line up. What the cells are is `tables`' business."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from shared.engine.embedded.bounds import (
    area,
    centre_x,
    centre_y,
    foot,
    grown,
    overlap,
    overlap_x,
    overlap_y,
    share_inside,
    union,
    width,
)
from shared.engine.embedded.lines import Bounds, Region, Rulings, Span
from shared.engine.embedded.paragraphs import Segment, chains_of, flows, rows_of

TOUCH_EM: Final = 0.15
"""Rulings closer than this belong to one grid."""
TOUCH_MIN_PX: Final = 3.0
REGION_SCORE_MIN: Final = 0.5
OVERLAP_MIN: Final = 0.3
ROW_GAP_MAX_EM: Final = 2.5
"""Rows of an unruled table stand closer than this."""
COLUMN_GAP_EM: Final = 0.15
"""Gaps between the columns of neighbouring rows share at least this much."""
ROWS_MIN: Final = 3
ROWS_MIN_WIDE: Final = 2
"""Two rows make a table when each has three cells or more."""
SEGMENTS_MAX: Final = 1500
"""With more lines than any page holds the search for unruled tables is left out: it costs time."""


class Area(msgspec.Struct, frozen=True):
    """A table's place."""

    box: Bounds
    loose: bool = False
    """Nothing but the alignment of its lines says that it is a table; their text may say no."""


def find_areas(
    spans: Sequence[Span],
    segments: Sequence[Segment],
    regions: Sequence[Region],
    rulings: Rulings,
    em: float,
) -> list[Area]:
    """The tables of the page; they do not overlap."""
    grids = _outermost([box for box in _grids(rulings, em) if _cells_filled(box, spans, rulings)])
    framed = [box for box in grids if _is_framed(box, rulings, em)]
    found = list(framed)
    rows = rows_of(segments)
    for box in _regions(regions):
        # A table of the layout model that reaches over several framed grids is less than they are.
        held = [grid for grid in framed if share_inside(grid, box) > 0.8]
        if len(held) > 1 or any(share_inside(box, grid) > 0.5 for grid in framed):
            continue
        if _has_columns(box, segments):
            found = [grid for grid in found if grid not in held]
            above = [each for each in rows if min(part.box[1] for part in each) < box[1]]
            found.append(_with_head(union([box, *held]), above, rulings, em))
    free = [
        segment
        for segment in segments
        if not any(share_inside(segment.box, box) > 0.5 for box in found)
    ]
    open_grids = [
        grid
        for grid in grids
        if grid not in framed and not any(share_inside(grid, box) > 0.5 for box in found)
    ]
    return [Area(box) for box in found] + _joined(_aligned(free, rulings, em), open_grids)


def _joined(areas: list[Area], grids: Sequence[Bounds]) -> list[Area]:
    """Rows that line up and grids without a frame, as one table where they overlap."""
    for grid in grids:
        over = [
            each
            for each in areas
            if max(share_inside(grid, each.box), share_inside(each.box, grid)) > OVERLAP_MIN
        ]
        areas = [each for each in areas if each not in over]
        areas.append(Area(union([grid, *(each.box for each in over)])))
    return areas


# ---- grids of rulings


def _grids(rulings: Rulings, em: float) -> list[Bounds]:
    """Boxes around rulings that touch, where they make at least two columns."""
    thin: list[Bounds] = [(x1, y, x2, y) for x1, y, x2 in rulings.horizontal]
    thin += [(x, y1, x, y2) for x, y1, y2 in rulings.vertical]
    groups: list[list[Bounds]] = []
    for line in thin:
        reach = grown(line, max(TOUCH_MIN_PX, TOUCH_EM * em))
        touching = [group for group in groups if any(_crosses(line, reach, o) for o in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([line, *(each for group in touching for each in group)])
    boxes = []
    for group in groups:
        columns = distinct([line[0] for line in group if line[0] == line[2]], em / 2)
        rows = distinct([line[1] for line in group if line[0] != line[2]], em / 2)
        if len(columns) >= 1 and len(rows) >= 2 and len(columns) + len(rows) >= 5:
            boxes.append(union(group))
    return boxes


def _crosses(line: Bounds, reach: Bounds, other: Bounds) -> bool:
    """Lines of different directions that meet; parallel ones are neighbours, no more."""
    if (line[0] == line[2]) == (other[0] == other[2]):
        return False
    return overlap_x(reach, other) >= 0 and overlap_y(reach, other) >= 0


def _is_framed(box: Bounds, rulings: Rulings, em: float) -> bool:
    """Lines are drawn along all four edges."""
    left, top, right, bottom = box
    near = em / 2
    down = [(y1, y2, x) for x, y1, y2 in rulings.vertical]
    across = [(x1, x2, y) for x1, y, x2 in rulings.horizontal]
    return all(
        _covered(lines, place, low, high, near)
        for lines, place, low, high in (
            (down, left, top, bottom),
            (down, right, top, bottom),
            (across, top, left, right),
            (across, bottom, left, right),
        )
    )


def _covered(
    lines: Sequence[tuple[float, float, float]], place: float, low: float, high: float, near: float
) -> bool:
    length = sum(
        max(0.0, overlap(start, end, low, high))
        for start, end, at in lines
        if abs(at - place) <= near
    )
    return length >= 0.8 * (high - low)


def distinct(places: Sequence[float], apart: float) -> list[float]:
    """Places further apart than `apart`, each the mean of those near it."""
    groups: list[list[float]] = []
    for place in sorted(places):
        if groups and place - groups[-1][-1] <= apart:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [sum(group) / len(group) for group in groups]


def _cells_filled(box: Bounds, spans: Sequence[Span], rulings: Rulings) -> bool:
    """Lines stand on both sides of a vertical ruling, on at least one row."""
    inside = [foot(span) for span in spans if share_inside(foot(span), box) > 0.5]
    for x, y1, y2 in rulings.vertical:
        level = [each for each in inside if y1 <= centre_y(each) <= y2]
        left = any(centre_x(each) < x for each in level)
        right = any(centre_x(each) > x for each in level)
        if left and right and box[0] <= x <= box[2]:
            return True
    return False


def _outermost(boxes: Sequence[Bounds]) -> list[Bounds]:
    kept: list[Bounds] = []
    for box in sorted(boxes, key=area, reverse=True):
        if not any(share_inside(box, other) > 0.5 for other in kept):
            kept.append(box)
    return kept


# ---- the layout model's tables


def _regions(regions: Sequence[Region]) -> list[Bounds]:
    tables = [
        region.box
        for region in regions
        if region.label == "table" and region.score >= REGION_SCORE_MIN
    ]
    return _outermost(tables)


def _has_columns(box: Bounds, segments: Sequence[Segment]) -> bool:
    """At least two rows of the region hold cells side by side."""
    inside = [segment for segment in segments if share_inside(segment.box, box) > 0.5]
    return sum(len(row) > 1 for row in rows_of(inside)) >= 2


# ---- rows that line up


def _aligned(segments: Sequence[Segment], rulings: Rulings, em: float) -> list[Area]:
    if len(segments) > SEGMENTS_MAX:
        return []
    running = [chain for chain in chains_of(segments, em) if flows(chain, em)]
    text = {id(segment) for chain in running for segment in chain}
    rows = rows_of([segment for segment in segments if id(segment) not in text])
    areas: list[Area] = []
    for run in _runs(rows, em):
        box = union(segment.box for row in run for segment in row)
        above = rows[: rows.index(run[0])]
        ruled = _is_ruled(box, rulings, em)
        if ruled:
            box = _with_head(box, above, rulings, em)
        areas.append(Area(box, loose=not ruled))
    return areas


def _runs(rows: Sequence[list[Segment]], em: float) -> list[list[list[Segment]]]:
    """Neighbouring rows whose column gaps agree."""
    runs: list[list[list[Segment]]] = []
    current: list[list[Segment]] = []
    for row in rows:
        if current and not _follows(row, current, em):
            runs.append(current)
            current = []
        if current or len(row) > 1:
            current.append(row)
    runs.append(current)
    trimmed = [_trimmed(run) for run in runs]
    return [run for run in trimmed if _is_table(run)]


def _follows(row: list[Segment], run: list[list[Segment]], em: float) -> bool:
    bottom = max(segment.box[3] for segment in run[-1])
    if min(segment.box[1] for segment in row) - bottom > ROW_GAP_MAX_EM * em:
        return False
    wide = [each for each in run if len(each) > 1][-1]
    if len(row) == 1:
        # A head between rows, or a cell that goes on: within the table, and not two of them.
        left, right = wide[0].box[0] - em, wide[-1].box[2] + em
        box = row[0].box
        return len(run[-1]) > 1 and box[0] >= left and box[2] <= right
    return any(
        overlap(*gap, *other) >= COLUMN_GAP_EM * em for gap in _gaps(row) for other in _gaps(wide)
    )


def _gaps(row: Sequence[Segment]) -> list[tuple[float, float]]:
    return [(a.box[2], b.box[0]) for a, b in pairwise(row)]


def _trimmed(run: list[list[Segment]]) -> list[list[Segment]]:
    while run and len(run[-1]) == 1:
        run = run[:-1]
    return run


def _is_table(run: list[list[Segment]]) -> bool:
    wide = [len(row) for row in run if len(row) > 1]
    if len(wide) >= ROWS_MIN:
        return True
    return len(wide) >= ROWS_MIN_WIDE and median(wide) >= 3


def _is_ruled(box: Bounds, rulings: Rulings, em: float) -> bool:
    """Horizontal lines are drawn inside."""
    inside = [
        (x1, y, x2)
        for x1, y, x2 in rulings.horizontal
        if box[1] - em < y < box[3] + em and overlap(x1, x2, box[0], box[2]) > 0.8 * (x2 - x1)
    ]
    return len(inside) >= 2


def _with_head(box: Bounds, above: Sequence[list[Segment]], rulings: Rulings, em: float) -> Bounds:
    """Take in heads over several columns: narrow rows just above, of
    several pieces or parted from it by a line."""
    for row in reversed(above):
        head = union(segment.box for segment in row)
        near = box[1] - head[3] < em and head[0] >= box[0] - em and head[2] <= box[2] + em
        lines = [
            overlap(x1, x2, box[0], box[2])
            for x1, y, x2 in rulings.horizontal
            if head[3] - em / 2 < y < box[1] + em and overlap(x1, x2, head[0], head[2]) > 0
        ]
        # A line from edge to edge is the table's upper border: what is above is not in it.
        closed = any(length > 0.9 * width(box) for length in lines)
        telling = bool(lines) or len(row) > 1
        if closed or not (near and telling and width(head) < 0.7 * width(box)):
            break
        box = union([box, head])
    return box
