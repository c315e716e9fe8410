"""Cells of a table from its lines and rulings, and the table as Markdown, HTML or plain rows.

In Markdown a merged cell of the head stands over each of its columns, any other only in its first
place: Markdown cannot merge, and a heading is what says which column is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from shared.engine.embedded.cells import HEAD_ROWS_MAX, Place, find_places, text_rows
from shared.engine.embedded.lines import Bounds, Line, Rulings
from shared.engine.embedded.prose import paragraphs, printed_lines
from shared.engine.embedded.words import join_lines

LINES_MIN: Final = 3
"""In cells of fewer lines a short line is just a short word."""

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


def read_table(
    lines: Sequence[Line], rulings: Rulings, box: Bounds, *, plain: bool = False
) -> Grid:
    """The table that these lines make inside this box.

    With `plain` a cell's lines stay as they are printed: no hyphen goes, no space is left out.
    """
    lines = [line for line in lines if line.text.strip()]
    return _grid(find_places(lines, rulings, box) if lines else [], plain=plain)


def _grid(places: Sequence[Place], *, plain: bool) -> Grid:
    filled = [place for place in places if place.lines]
    if not filled:
        return Grid(rows=0, columns=0, cells=())
    text_of = _as_printed if plain else cell_text
    cells = [Cell(p.row, p.column, text_of(p.lines, p.right), p.rows, p.columns) for p in filled]
    cells = _with_currencies(cells)
    cells = _without_empty(cells)
    rows = max(cell.row + cell.rows for cell in cells)
    columns = max(cell.column + cell.columns for cell in cells)
    ordered = tuple(sorted(cells, key=lambda cell: (cell.row, cell.column)))
    return Grid(rows, columns, ordered, _head(ordered))


def _as_printed(lines: Sequence[Line], _right: float | None) -> str:
    return " ".join(line.text.strip() for row in text_rows(lines) for line in row)


def cell_text(lines: Sequence[Line], right: float | None = None) -> str:
    """The cell's lines joined; in a cell of several, those that end on purpose stay apart.

    With the cell's own `right` edge, lines that all end far from it do, when they begin alike.
    """
    printed = printed_lines([line for row in text_rows(lines) for line in row])
    if len(printed) < LINES_MIN:
        return join_lines([each.text for each in printed])
    tall = max(each.tall for each in printed)
    lefts = [each.box[0] for each in printed]
    room = right - tall if right is not None and max(lefts) - min(lefts) <= tall else None
    return paragraphs(printed, between="\n", room=room)


def _with_currencies(cells: list[Cell]) -> list[Cell]:
    """A column of nothing but currency signs belongs to the amounts beside it."""
    columns = {cell.column for cell in cells if cell.text in CURRENCIES}
    for column in sorted(columns, reverse=True):
        signs = [cell for cell in cells if cell.column == column and cell.columns == 1]
        most = sum(cell.text in CURRENCIES for cell in signs) >= 0.5 * len(signs)
        if most and all(len(cell.text) <= 1 for cell in signs):
            cells = _folded(cells, column)
    return _handed_on(cells)


def _handed_on(cells: Sequence[Cell]) -> list[Cell]:
    """A second sign at an amount's end, "$ 178 $", is that of the amount in the next cell: detected
    boxes reach over narrow gaps."""
    texts = {(cell.row, cell.column): cell.text for cell in cells}
    for cell in cells:
        text, after = texts[cell.row, cell.column], (cell.row, cell.column + cell.columns)
        twice = len(text) > 2 and text[0] in CURRENCIES and text[-1] == text[0]
        if twice and texts.get(after, "")[:1].isdigit():
            texts[cell.row, cell.column] = text[:-1].rstrip()
            texts[after] = f"{text[-1]} {texts[after]}"
    return [msgspec.structs.replace(cell, text=texts[cell.row, cell.column]) for cell in cells]


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
    """`<table>` with `<tr>` and `<td>`, and no attributes but rowspan and colspan.

    The only other tag is `<br>`, between lines of a cell that were ended on purpose.
    """
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
    text = escape(cell.text, quote=False).replace("\n", "<br>")
    return f"<td{rows}{columns}>{text}</td>"


def write_plain(grid: Grid) -> str:
    """A line for each row, its cells parted by tabs."""
    rows: list[list[str]] = [[] for _ in range(grid.rows)]
    for cell in grid.cells:
        rows[cell.row].append(" ".join(cell.text.split()))
    return "\n".join("\t".join(row) for row in rows if row)
