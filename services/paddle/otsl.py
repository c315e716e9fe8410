"""The language PaddleOCR-VL writes tables in: a tag for each place of a grid (`<fcel>` with text,
`<ecel>` empty, `<lcel>`, `<ucel>`, `<xcel>` part of the cell left, above, both) and `<nl>` after a
row.

Reads it into a grid, mending rows of different lengths as the vendor does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import regex

from shared.engine.embedded.tables import Cell, Grid

_TAG: Final = regex.compile(r"<(nl|fcel|ecel|lcel|ucel|xcel)>")

ACROSS: Final = frozenset({"lcel", "xcel"})
DOWN: Final = frozenset({"ucel", "xcel"})

Place = tuple[str, str]
"""A tag and the text behind it."""

EMPTY: Final[Place] = ("ecel", "")


def read_otsl(text: str) -> Grid | None:
    """The table of an answer; `None` when there is not one tag in it."""
    rows = _padded(_rows(text))
    if not rows:
        return None
    taken: set[tuple[int, int]] = set()
    cells: list[Cell] = []
    for row, places in enumerate(rows):
        for column, (tag, said) in enumerate(places):
            if (row, column) in taken or (tag != "fcel" and not said):
                continue
            cell = _cell(rows, row, column, taken)
            taken |= _places(cell)
            cells.append(cell)
    return Grid(len(rows), len(rows[0]), tuple(cells), _head(cells))


def write_markdown(grid: Grid) -> str:
    """A pipe table, its first row the head. A merged cell of the head stands over each of its
    columns, any other in its first place alone. LaTeX stays as it is."""
    if not grid.rows or not grid.columns:
        return ""
    places = [[""] * grid.columns for _ in range(grid.rows)]
    for cell in grid.cells:
        wide = cell.columns if cell.row < grid.head else 1
        text = cell.text.replace("|", "\\|").replace("\n", "<br>")
        places[cell.row][cell.column : cell.column + wide] = [text] * wide
    head, *body = (f"| {' | '.join(row)} |" for row in places)
    return "\n".join([head, f"|{'|'.join([' --- '] * grid.columns)}|", *body])


def _rows(text: str) -> list[list[Place]]:
    rows: list[list[Place]] = [[]]
    parts = _TAG.split(text)
    for tag, said in zip(parts[1::2], parts[2::2], strict=True):
        if tag == "nl":
            rows.append([])
        else:
            rows[-1].append((tag, said.strip()))
    return [row for row in rows if row]


def _padded(rows: Sequence[list[Place]]) -> list[list[Place]]:
    """The rows at the one width that costs the fewest places, none with text among them."""
    if not rows:
        return []
    least = max((at + 1 for row in rows for at, place in enumerate(row) if place[1]), default=1)
    most = max(least, *map(len, rows))
    width = min(range(least, most + 1), key=lambda wide: sum(abs(len(row) - wide) for row in rows))
    return [(row + [EMPTY] * (width - len(row)))[:width] for row in rows]


def _cell(
    rows: Sequence[Sequence[Place]], row: int, column: int, taken: set[tuple[int, int]]
) -> Cell:
    """The cell that begins at a place, with all that its neighbours' tags add to it."""
    wide = high = 1
    while column + wide < len(rows[row]) and (row, column + wide) not in taken:
        tag, said = rows[row][column + wide]
        if tag not in ACROSS or said:
            break
        wide += 1
    while row + high < len(rows):
        below = rows[row + high][column : column + wide]
        tag, said = below[0]
        free = all((row + high, column + at) not in taken for at in range(wide))
        if tag not in DOWN or said or not free or any(place[1] for place in below):
            break
        high += 1
    return Cell(row, column, rows[row][column][1], high, wide)


def _places(cell: Cell) -> set[tuple[int, int]]:
    return {
        (row, column)
        for row in range(cell.row, cell.row + cell.rows)
        for column in range(cell.column, cell.column + cell.columns)
    }


def _head(cells: Sequence[Cell]) -> int:
    """The head reaches to the end of the first row's cells, and under those over columns."""
    first = [cell for cell in cells if cell.row == 0]
    end = max((cell.rows for cell in first), default=1)
    return max(end, 2) if any(cell.columns > 1 for cell in first) else end
