"""Sorts a table's lines into cells: by its rulings where they part it, otherwise by the gaps
between its columns. How a table is written is decided elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from shared.engine.embedded.bounds import (
    centre_x,
    centre_y,
    em_of,
    foot,
    height,
    overlap,
    overlap_y,
    union,
    width,
)
from shared.engine.embedded.columns import Column, find_columns, reach_of
from shared.engine.embedded.frame import Frame
from shared.engine.embedded.lines import Bounds, Line, Rulings

SHARED_MIN: Final = 4
SHARED_RATIO: Final = 3
PART_ROWS_MIN: Final = 2
SPLIT_ROWS_MAX: Final = 120
"""Longer tables are not looked at for two above one another: each row is a try."""
HEAD_ROWS_MAX: Final = 3
"""Heads are looked for in the first rows only."""


class Place(msgspec.Struct):
    """A cell while it is being filled."""

    row: int
    column: int
    rows: int
    columns: int
    lines: list[Line]
    right: float | None = None
    """Where the ruling to its right is, if any."""


def find_places(lines: Sequence[Line], rulings: Rulings, box: Bounds) -> list[Place]:
    """The cells that these lines make inside this box; some may be empty."""
    em = em_of(line.span for line in lines)
    frame = Frame.around(lines, rulings, box, em)
    rows = text_rows(lines)
    columns = find_columns(_feet(rows), em)
    if frame.is_grid(len(columns)):
        return _split_bands(_ruled(lines, frame))
    places: list[Place] = []
    for part in _stacked(rows, columns, em):
        own = columns if len(part) == len(rows) else find_columns(_feet(part), em)
        below = max((place.row + place.rows for place in places), default=0)
        for place in _unruled(part, own, frame, em):
            place.row += below
            places.append(place)
    return places


def text_rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Printed rows, from top to bottom, each from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: centre_y(foot(line.span))):
        box = foot(line.span)
        for row in reversed(rows[-3:]):
            if all(_beside(box, foot(other.span)) for other in row):
                row.append(line)
                break
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: foot(line.span)[0]) for row in rows]


def _beside(a: Bounds, b: Bounds) -> bool:
    shared = overlap_y(a, b) >= 0.5 * min(height(a), height(b))
    apart = overlap(a[0], a[2], b[0], b[2]) <= 0.3 * min(width(a), width(b))
    return shared and apart


# ---- with rulings


def _ruled(lines: Sequence[Line], frame: Frame) -> list[Place]:
    places = _merged(frame)
    for line in lines:
        box = foot(line.span)
        row, column = _slot(frame.ys, centre_y(box)), _slot(frame.xs, centre_x(box))
        for place in places:
            if (
                place.row <= row < place.row + place.rows
                and place.column <= column < place.column + place.columns
            ):
                place.lines.append(line)
                break
    return [each for place in places for each in _by_rows(place, frame)]


def _by_rows(place: Place, frame: Frame) -> list[Place]:
    """Numbers below one another are cells of their own, also where a faint border was not seen:
    words wrap, and numbers do not."""
    slots = [_slot(frame.ys, centre_y(foot(line.span))) for line in place.lines]
    numbers = all(line.text.strip().isdecimal() for line in place.lines)
    if len(slots) < 2 or len(set(slots)) < len(slots) or not numbers:
        return [place]
    rows = range(place.row, place.row + place.rows)
    own = dict(zip(slots, place.lines, strict=True))
    return [
        Place(row, place.column, 1, place.columns, [own[row]] if row in own else [], place.right)
        for row in rows
    ]


def _slot(edges: Sequence[float], place: float) -> int:
    inside = sum(edge <= place for edge in edges) - 1
    return min(max(inside, 0), len(edges) - 2)


def _merged(frame: Frame) -> list[Place]:
    """The cells: places of the grid, merged where no line is drawn between them."""
    rows, columns = len(frame.ys) - 1, len(frame.xs) - 1
    boxes: list[tuple[int, int, int, int]] = []
    for row in range(rows):
        start = 0
        for column in range(columns):
            if column == columns - 1 or frame.parts_columns(row, column):
                boxes.append((row, start, row + 1, column + 1))
                start = column + 1
    joined: list[tuple[int, int, int, int]] = []
    for box in boxes:
        for at, above in enumerate(joined):
            same = above[1] == box[1] and above[3] == box[3] and above[2] == box[0]
            if same and not _parted(frame, box):
                joined[at] = (above[0], above[1], box[2], above[3])
                break
        else:
            joined.append(box)
    return [
        Place(top, left, bottom - top, right - left, [], frame.xs[right])
        for top, left, bottom, right in joined
    ]


def _parted(frame: Frame, box: tuple[int, int, int, int]) -> bool:
    row, left, _, right = box
    return any(frame.parts_rows(row - 1, column) for column in range(left, right))


def _split_bands(places: list[Place]) -> list[Place]:
    """Rows of a ruled table that hold several printed rows, cell by cell, are several rows."""
    bands = {place.row for place in places}
    split: dict[int, list[float]] = {}
    for band in sorted(bands):
        seeds = _rows_in(band, places)
        if len(seeds) > 1:
            split[band] = seeds
    plain = len(bands) - len(split)
    split = {band: seeds for band, seeds in split.items() if len(seeds) > 3 or plain <= len(split)}
    if not split:
        return places
    starts: dict[int, int] = {}
    at = 0
    for band in range(max(place.row + place.rows for place in places)):
        starts[band] = at
        at += len(split.get(band, [0.0]))
    starts[max(starts) + 1] = at
    return [each for place in places for each in _spread(place, split, starts)]


def _rows_in(band: int, places: Sequence[Place]) -> list[float]:
    """The centres of the printed rows of a band, when most of its filled cells have them all."""
    cells = [place for place in places if place.row == band and place.rows == 1 and place.lines]
    stacks = [[centre_y(foot(row[0].span)) for row in text_rows(place.lines)] for place in cells]
    if not stacks:
        return []
    most = max(stacks, key=len)
    alike = [stack for stack in stacks if len(stack) == len(most)]
    if len(most) < 2 or len(alike) < max(2, 0.6 * len(stacks)):
        return []
    pitch = (most[-1] - most[0]) / (len(most) - 1)
    level = all(
        abs(here - there) < 0.3 * pitch
        for stack in alike
        for here, there in zip(stack, most, strict=True)
    )
    return [median(centres) for centres in zip(*alike, strict=True)] if level else []


def _spread(place: Place, split: dict[int, list[float]], starts: dict[int, int]) -> list[Place]:
    first, end = starts[place.row], starts[place.row + place.rows]
    seeds = split.get(place.row)
    rows = text_rows(place.lines)
    if seeds is None or place.rows > 1 or len(rows) != len(seeds):
        return [Place(first, place.column, end - first, place.columns, place.lines, place.right)]
    return [Place(first + at, place.column, 1, place.columns, row) for at, row in enumerate(rows)]


# ---- without rulings


def _feet(rows: Sequence[Sequence[Line]]) -> list[list[Bounds]]:
    return [[foot(line.span) for line in row] for row in rows]


def _stacked(
    rows: Sequence[Sequence[Line]], columns: Sequence[Column], em: float
) -> list[Sequence[Sequence[Line]]]:
    """The rows as one table, or as two above one another when their columns do not agree: cells
    that share a place in the whole have each their own in the parts."""
    together = _shared_places(rows, columns)
    if together < SHARED_MIN or len(rows) > SPLIT_ROWS_MAX:
        return [rows]
    splits = []
    for at in range(PART_ROWS_MIN, len(rows) - PART_ROWS_MIN + 1):
        parts = rows[:at], rows[at:]
        found = [find_columns(_feet(part), em) for part in parts]
        shared = sum(_shared_places(part, own) for part, own in zip(parts, found, strict=True))
        splits.append((shared, sum(map(len, found)), at))
    shared, _, at = min(splits, default=(together, 0, 0))
    return [rows] if shared * SHARED_RATIO > together else [rows[:at], rows[at:]]


def _shared_places(rows: Sequence[Sequence[Line]], columns: Sequence[Column]) -> int:
    """How many cells stand in the same column as the cell to their left."""
    if not columns:
        return 0
    reaches = [[reach_of(foot(line.span), columns) for line in row] for row in rows]
    return sum(right[0] <= left[1] for row in reaches for left, right in pairwise(row))


def _unruled(
    rows: Sequence[Sequence[Line]], columns: Sequence[Column], frame: Frame, em: float
) -> list[Place]:
    if not columns:
        return []
    grid: list[list[Place]] = []
    for at, row in enumerate(rows):
        places: list[Place] = []
        for line in row:
            first, last = reach_of(foot(line.span), columns)
            if places and first < places[-1].column + places[-1].columns:
                places[-1].lines.append(line)
                end = max(last + 1, places[-1].column + places[-1].columns)
                places[-1].columns = end - places[-1].column
            else:
                places.append(Place(at, first, 1, last - first + 1, [line]))
        grid.append(places)
    grid = _without_wraps(grid, em)
    _widen_heads(grid, columns, frame)
    return [place for row in grid for place in row]


def _without_wraps(grid: list[list[Place]], em: float) -> list[list[Place]]:
    """Join a row to the one above it when it only goes on with some of its cells."""
    gaps = [_gap(above, below) for above, below in pairwise(grid)]
    usual = median(gaps) if gaps else 0.0
    kept: list[list[Place]] = []
    for at, row in enumerate(grid):
        if kept and _goes_on(kept[-1], row) and gaps[at - 1] < usual - 0.25 * em:
            for place in row:
                above = next(each for each in kept[-1] if _covers(each, place))
                above.lines.extend(place.lines)
            continue
        for place in row:
            place.row = len(kept)
        kept.append(row)
    return kept


def _gap(above: Sequence[Place], below: Sequence[Place]) -> float:
    bottom = max(foot(line.span)[3] for place in above for line in place.lines)
    return min(foot(line.span)[1] for place in below for line in place.lines) - bottom


def _goes_on(above: Sequence[Place], row: Sequence[Place]) -> bool:
    fewer = len(row) < len(above) and row[0].column > 0
    return fewer and all(any(_covers(each, place) for each in above) for place in row)


def _covers(above: Place, below: Place) -> bool:
    return (
        above.column <= below.column
        and below.column + below.columns <= above.column + above.columns
    )


def _widen_heads(grid: list[list[Place]], columns: Sequence[Column], frame: Frame) -> None:
    """Let heads stand over all the columns they are centred on or underlined across."""
    for at, row in enumerate(grid[:-1]):
        below = grid[at + 1]
        if len(row) >= len(below) or at > HEAD_ROWS_MAX:
            break
        middles = [centre_x(union(foot(line.span) for line in place.lines)) for place in row]
        near = [_nearest((low + high) / 2, middles) for low, high in columns]
        for index, place in enumerate(row):
            own = {column for column, head in enumerate(near) if head == index}
            place.column, place.columns = _head_reach(place, own, columns, frame)


def _nearest(place: float, others: Sequence[float]) -> int:
    return min(range(len(others)), key=lambda at: abs(others[at] - place))


def _head_reach(
    place: Place, own: set[int], columns: Sequence[Column], frame: Frame
) -> tuple[int, int]:
    box = union(foot(line.span) for line in place.lines)
    line = frame.underlined(box)
    first, last = place.column, place.column + place.columns - 1
    if line is not None:
        under = [
            at
            for at, (low, high) in enumerate(columns)
            if overlap(low, high, *line) > 0.5 * (high - low)
        ]
        if under and under[0] <= first and under[-1] >= last:
            return under[0], len(under)
    middle = centre_x(box)
    own = own | set(range(first, last + 1))
    best = (first, last)
    for low in range(first, -1, -1):
        for high in range(last, len(columns)):
            others = set(range(low, high + 1)) - own
            centre = (columns[low][0] + columns[high][1]) / 2
            even = width((columns[low][0], 0, columns[high][1], 0)) / (high - low + 1)
            if not others and abs(centre - middle) <= 0.2 * even and high - low > best[1] - best[0]:
                best = (low, high)
    return best[0], best[1] - best[0] + 1
