"""Writes one planned block, once its lines are read: paragraphs, headings, lists, tables.

The text stays as it was read; only where lines join, and Markdown's own marks, are decided here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from shared.engine.embedded.items import as_list, is_page_number, list_start, may_begin_list
from shared.engine.embedded.lines import Bounds, Line, Plan, Rulings, Span
from shared.engine.embedded.prose import paragraphs, printed_lines, with_initial
from shared.engine.embedded.tables import (
    Grid,
    read_table,
    write_html,
    write_markdown,
    write_plain,
)
from shared.engine.embedded.words import join_lines
from shared.ocr import Block, Box, Category

HEADING_CHARACTERS_MAX: Final = 200
"""What is longer is a paragraph, whatever the layout model says."""

NUMERIC_SHARE: Final = 0.4
"""A cell is a number, a price or a date when this much of it is digits."""

FILLED_SHARE: Final = 0.75
"""Rows of three and more columns are a table when so many of their places are filled."""

MARGINS: Final = (Category.PAGE_HEADER, Category.PAGE_FOOTER)
HEADINGS: Final = {Category.TITLE: "#", Category.SECTION_HEADER: "##"}


def make_block(
    plan: Plan,
    lines: Sequence[Line],
    rulings: Rulings,
    *,
    tables: Literal["markdown", "html"] = "markdown",
    plain: bool = False,
) -> Block:
    """The block that these lines, in the plan's order, make.

    With `plain` nothing is marked up: a printed line is a line, a table's cells are parted by tabs.
    """
    lines = [line for line in lines if line.text.strip()]
    category, text = plan.category, ""
    if plan.category is Category.TABLE:
        category, text = _table(plan, lines, rulings, tables, plain=plain)
    elif plan.category is not Category.PICTURE:
        category, text = _text(plan, lines, plain=plain)
    return Block(category=category, box=_pixels(plan.box), text=text)


def telling(plan: Plan) -> tuple[Span, ...]:
    """The lines whose text decides what a block is; `is_told` says whether they do."""
    if plan.category is Category.TABLE:
        return plan.spans if plan.loose else ()
    if plan.category in MARGINS or plan.category in HEADINGS:
        return plan.spans
    return plan.spans[:1] if plan.category is Category.TEXT else ()


def is_told(plan: Plan, lines: Sequence[Line]) -> bool:
    """Nothing in the plan's other lines can change its category."""
    if plan.category is not Category.TEXT or len(lines) == len(plan.spans):
        return True
    texts = [line.text.strip() for line in lines]
    return bool(texts and texts[0]) and not may_begin_list(texts[0])


def _pixels(box: Bounds) -> Box:
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    return left, top, math.ceil(box[2]), math.ceil(box[3])


# ---- tables


def _table(
    plan: Plan, lines: Sequence[Line], rulings: Rulings, tables: str, *, plain: bool
) -> tuple[Category, str]:
    grid = read_table(lines, rulings, plan.box, plain=plain)
    if plan.loose and _is_keyed(grid):
        rows = [_row(grid, row, " ") for row in range(grid.rows)]
        return Category.TEXT, "\n".join(row for row in rows if row)
    if plan.loose and not _is_table(grid):
        return Category.TEXT, _columns(grid)
    if plain:
        return Category.TABLE, write_plain(grid)
    return Category.TABLE, write_html(grid) if tables == "html" else write_markdown(grid)


def _row(grid: Grid, row: int, between: str) -> str:
    return between.join(cell.text for cell in grid.cells if cell.row == row)


def _is_keyed(grid: Grid) -> bool:
    """Two columns, labels with a colon on the left."""
    keys = [cell for cell in grid.cells if cell.column == 0 and cell.columns == 1]
    marked = [cell for cell in keys if cell.text.endswith((":", "："))]
    return grid.columns == 2 and len(marked) * 2 > len(keys)


def _is_table(grid: Grid) -> bool:
    """What lines up is a table when a column holds numbers, or three columns are well filled.

    Two columns of words are two addresses side by side, say, and are read one after the other.
    """
    for column in range(1, grid.columns):
        cells = [cell for cell in grid.cells if cell.column == column]
        if cells and sum(map(_is_numeric, (cell.text for cell in cells))) * 2 >= len(cells):
            return True
    filled = sum(cell.columns for cell in grid.cells) / max(1, grid.rows * grid.columns)
    return grid.columns >= 3 and filled >= FILLED_SHARE


def _is_numeric(text: str) -> bool:
    shown = [char for char in text if not char.isspace()]
    return sum(char.isdigit() for char in shown) >= NUMERIC_SHARE * max(1, len(shown))


def _columns(grid: Grid) -> str:
    columns = [
        "\n".join(cell.text for cell in grid.cells if cell.column == column)
        for column in range(grid.columns)
    ]
    return "\n\n".join(column for column in columns if column)


# ---- text


def _text(plan: Plan, lines: Sequence[Line], *, plain: bool) -> tuple[Category, str]:
    printed = with_initial(printed_lines(lines))
    texts = [each.text for each in printed]
    category = plan.category
    if category in MARGINS and not _is_margin(plan, texts):
        category = Category.TEXT
    if category in HEADINGS and len(join_lines(texts)) > HEADING_CHARACTERS_MAX:
        category = Category.TEXT
    if plain:
        return category, "\n".join(texts)
    if category in HEADINGS:
        return category, f"{HEADINGS[category]} {join_lines(texts)}" if texts else ""
    if category is Category.FORMULA:
        return category, "\n".join(texts)
    if category is not Category.TEXT:
        return category, paragraphs(printed)
    start = list_start(printed)
    items = as_list(printed[start:])
    if items is None:
        return category, paragraphs(printed)
    if start == 0:
        return Category.LIST_ITEM, items
    return category, f"{paragraphs(printed[:start])}\n\n{items}"


def _is_margin(plan: Plan, texts: Sequence[str]) -> bool:
    """Short words at a page's edge are a page number or they are text."""
    short = len(plan.spans) == 1 and len("".join(texts)) <= 8
    return not short or is_page_number("".join(texts)) or plan.sure
