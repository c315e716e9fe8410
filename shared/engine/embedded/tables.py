"""Cells of a table from its lines and rulings, and the table as Markdown, HTML or plain rows.

In Markdown a merged cell of the head stands over each of its columns, any other only in its first
place: Markdown cannot merge, and a heading is what says which column is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from shared.engine.embedded.areas import distinct
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
from shared.engine.embedded.lines import Bounds, Line, Rulings
from shared.engine.embedded.words import join_lines

SIDES_MAX: Final = 200
"""Most rows or columns of a table; what exceeds it is a drawing, and is read as unruled rows."""

COVER_MIN: Final = 0.5
"""A border counts as drawn when a ruling covers this much of it."""

CURRENCIES: Final = frozenset("$€£¥₩₽₹￥")


class Cell(msgspec.Struct, frozen=True):
    """A cell: its first place, how far it reaches, what it says."""

    row: int
    column: int
    text: str
    rows: int = 1
    columns: int = 1


class Grid(msgspec.Struct, frozen=True):
    """A table. Cells do not overlap; places without a cell are empty."""

    rows: int
    columns: int
    cells: tuple[Cell, ...]
    head: int = 1
    """How many rows are its head."""


class Place(msgspec.Struct):
    """A cell while it is being filled."""

    row: int
    column: int
    rows: int
    columns: int
    lines: list[Line]


def read_table(lines: Sequence[Line], rulings: Rulings, box: Bounds) -> Grid:
    """The table that these lines make inside this box."""
    lines = [line for line in lines if line.text.strip()]
    if not lines:
        return Grid(rows=0, columns=0, cells=())
    em = em_of(line.span for line in lines)
    frame = Frame.around(lines, rulings, box, em)
    rows = text_rows(lines)
    columns = find_columns([[foot(line.span) for line in row] for row in rows], em)
    if frame.is_grid(len(columns)):
        places = _split_bands(_ruled(lines, frame), em)
    else:
        places = _unruled(rows, columns, frame, em)
    return _grid(places)


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


class Frame(msgspec.Struct, frozen=True):
    """The rulings of one table, and the edges they make. The first and last edge are its borders,
    drawn or not."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    vertical: tuple[tuple[float, float, float], ...]
    horizontal: tuple[tuple[float, float, float], ...]
    near: float
    """A ruling this close to an edge lies on it."""

    @classmethod
    def around(cls, lines: Sequence[Line], rulings: Rulings, box: Bounds, em: float) -> Frame:
        near = em / 2
        left, top, right, bottom = box
        text = union(foot(line.span) for line in lines)
        vertical = tuple(
            each
            for each in rulings.vertical
            if left - near <= each[0] <= right + near and overlap(*each[1:], top, bottom) > near
        )
        horizontal = tuple(
            each
            for each in rulings.horizontal
            if top - near <= each[1] <= bottom + near
            and overlap(each[0], each[2], left, right) > near
        )
        xs = distinct([x for x, _, _ in vertical], near)
        ys = distinct([y for _, y, _ in horizontal], near)
        return cls(
            xs=_bordered(xs, text[0], text[2], near),
            ys=_bordered(ys, text[1], text[3], near),
            vertical=vertical,
            horizontal=horizontal,
            near=near,
        )

    def is_grid(self, columns: int) -> bool:
        """The rulings part at least as many columns as the gaps between the lines do."""
        high = self.ys[-1] - self.ys[0]
        parting = [
            x for x in self.xs[1:-1] if self._drawn_down(x, self.ys[0], self.ys[-1]) >= 0.4 * high
        ]
        framed = all(
            self._drawn_down(x, self.ys[0], self.ys[-1]) >= 0.8 * high
            for x in (self.xs[0], self.xs[-1])
        )
        small = len(self.xs) <= SIDES_MAX and len(self.ys) <= SIDES_MAX
        enough = len(parting) + 1 >= columns or (framed and len(self.ys) > 2)
        return small and bool(parting) and enough

    def _drawn_down(self, x: float, top: float, bottom: float) -> float:
        return sum(
            max(0.0, overlap(y1, y2, top, bottom))
            for at, y1, y2 in self.vertical
            if abs(at - x) <= self.near
        )

    def _drawn_across(self, y: float, left: float, right: float) -> float:
        return sum(
            max(0.0, overlap(x1, x2, left, right))
            for x1, at, x2 in self.horizontal
            if abs(at - y) <= self.near
        )

    def parts_columns(self, row: int, column: int) -> bool:
        """A line is drawn between this column and the next, in this row."""
        top, bottom = self.ys[row], self.ys[row + 1]
        drawn = self._drawn_down(self.xs[column + 1], top, bottom)
        return drawn >= COVER_MIN * (bottom - top)

    def parts_rows(self, row: int, column: int) -> bool:
        """A line is drawn between this row and the next, in this column."""
        left, right = self.xs[column], self.xs[column + 1]
        drawn = self._drawn_across(self.ys[row + 1], left, right)
        return drawn >= COVER_MIN * (right - left)

    def underlined(self, box: Bounds) -> tuple[float, float] | None:
        """The ruling close under a box, when it is wider than the box: a head over columns."""
        for x1, y, x2 in self.horizontal:
            close = -self.near <= y - box[3] <= self.near
            if close and x1 <= box[0] and x2 >= box[2]:
                return x1, x2
        return None


def _bordered(edges: list[float], low: float, high: float, near: float) -> tuple[float, ...]:
    """Edges with the borders added that are not drawn: text stands outside of the drawn ones."""
    if not edges or low < edges[0] - near:
        edges = [low, *edges]
    if len(edges) < 2 or high > edges[-1] + near:
        edges = [*edges, max(high, edges[-1] + 1)]
    return tuple(edges)


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
    return places


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
    return [Place(top, left, bottom - top, right - left, []) for top, left, bottom, right in joined]


def _parted(frame: Frame, box: tuple[int, int, int, int]) -> bool:
    row, left, _, right = box
    return any(frame.parts_rows(row - 1, column) for column in range(left, right))


def _split_bands(places: list[Place], em: float) -> list[Place]:
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
        return [Place(first, place.column, end - first, place.columns, place.lines)]
    return [Place(first + at, place.column, 1, place.columns, row) for at, row in enumerate(rows)]


# ---- without rulings


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


HEAD_ROWS_MAX: Final = 3
"""Heads are looked for in the first rows only."""


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


# ---- the grid


def _grid(places: Sequence[Place]) -> Grid:
    filled = [place for place in places if place.lines]
    if not filled:
        return Grid(rows=0, columns=0, cells=())
    cells = [
        Cell(place.row, place.column, cell_text(place.lines), place.rows, place.columns)
        for place in filled
    ]
    cells = _with_currencies(cells)
    cells = _without_empty(cells)
    rows = max(cell.row + cell.rows for cell in cells)
    columns = max(cell.column + cell.columns for cell in cells)
    ordered = tuple(sorted(cells, key=lambda cell: (cell.row, cell.column)))
    return Grid(rows, columns, ordered, _head(ordered))


def cell_text(lines: Sequence[Line]) -> str:
    rows = text_rows(lines)
    return join_lines([" ".join(line.text.strip() for line in row) for row in rows])


def _with_currencies(cells: list[Cell]) -> list[Cell]:
    """A column of nothing but currency signs belongs to the amounts beside it."""
    columns = {cell.column for cell in cells if cell.text in CURRENCIES}
    for column in sorted(columns, reverse=True):
        signs = [cell for cell in cells if cell.column == column and cell.columns == 1]
        most = sum(cell.text in CURRENCIES for cell in signs) >= 0.5 * len(signs)
        if most and all(len(cell.text) <= 1 for cell in signs):
            cells = _folded(cells, column)
    return cells


def _folded(cells: Sequence[Cell], column: int) -> list[Cell]:
    signs = {cell.row: cell.text for cell in cells if cell.column == column and cell.columns == 1}
    folded: list[Cell] = []
    for cell in cells:
        if cell.column == column and cell.columns == 1:
            alone = not any(o.row == cell.row and o.column == column + 1 for o in cells)
            if alone:
                folded.append(cell)
            continue
        text = cell.text
        if cell.column == column + 1 and cell.row in signs:
            text = f"{signs[cell.row]} {text}"
        start = cell.column if cell.column <= column else cell.column - 1
        end = cell.column + cell.columns
        end = end if end <= column else end - 1
        folded.append(Cell(cell.row, start, text, cell.rows, max(1, end - start)))
    return folded


def _without_empty(cells: Sequence[Cell]) -> list[Cell]:
    """Drop rows and columns in which no cell begins."""
    rows = sorted({cell.row for cell in cells})
    columns = sorted({cell.column for cell in cells})
    kept: list[Cell] = []
    for cell in cells:
        high = sum(cell.row <= row < cell.row + cell.rows for row in rows)
        wide = sum(cell.column <= column < cell.column + cell.columns for column in columns)
        row, column = rows.index(cell.row), columns.index(cell.column)
        kept.append(Cell(row, column, cell.text, high, wide))
    return kept


def _head(cells: Sequence[Cell]) -> int:
    """The head reaches to the end of the first row's cells, and under those over columns."""
    end = 1
    for row in range(HEAD_ROWS_MAX):
        if row >= end:
            break
        inside = [cell for cell in cells if cell.row == row]
        end = max([end, *(cell.row + cell.rows for cell in inside)])
        if any(cell.columns > 1 for cell in inside):
            end = max(end, row + 2)
    return min(end, max(cell.row for cell in cells) + 1)


# ---- written


def write_markdown(grid: Grid) -> str:
    """A pipe table; its first row is the head, as Markdown wants one."""
    if not grid.cells:
        return ""
    places = [[""] * grid.columns for _ in range(grid.rows)]
    for cell in grid.cells:
        wide = cell.columns if cell.row < grid.head else 1
        for column in range(cell.column, cell.column + wide):
            places[cell.row][column] = _piped(cell.text)
    written = [f"| {' | '.join(row)} |" for row in places]
    rule = f"|{'|'.join([' --- '] * grid.columns)}|"
    return "\n".join([written[0], rule, *written[1:]])


def _piped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def write_html(grid: Grid) -> str:
    """`<table>` with `<tr>` and `<td>`, and no attributes but rowspan and colspan."""
    if not grid.cells:
        return ""
    taken = {
        (row, column)
        for cell in grid.cells
        for row in range(cell.row, cell.row + cell.rows)
        for column in range(cell.column, cell.column + cell.columns)
    }
    starts = {(cell.row, cell.column): cell for cell in grid.cells}
    rows = []
    for row in range(grid.rows):
        cells = []
        for column in range(grid.columns):
            if cell := starts.get((row, column)):
                cells.append(_td(cell))
            elif (row, column) not in taken:
                cells.append("<td></td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _td(cell: Cell) -> str:
    rows = f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    columns = f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    return f"<td{rows}{columns}>{escape(cell.text, quote=False)}</td>"


def write_plain(grid: Grid) -> str:
    """A line for each row, its cells parted by tabs."""
    rows: list[list[str]] = [[] for _ in range(grid.rows)]
    for cell in grid.cells:
        rows[cell.row].append(cell.text)
    return "\n".join("\t".join(row) for row in rows if row)
