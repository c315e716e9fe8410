"""The fields of receipts, invoices and forms out of what PaddleOCR-VL read: its lines are put where
they stood on the page, and the embedded engine's field readers look at them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import regex

from shared.engine.embedded.lines import Bounds, Line, Quad, Span
from shared.engine.embedded.tables import Grid
from shared.ocr import Box, Task

log = logging.getLogger("ocr_fleet.engine")

ABSENT: Final[Mapping[Task, Mapping[str, object]]] = {
    Task.RECEIPT: {
        "merchant": "",
        "date": "",
        "currency": "",
        "subtotal": 0,
        "tax": 0,
        "total": 0,
        "items": [],
    },
    Task.INVOICE: {
        "invoice_number": "",
        "date": "",
        "due_date": "",
        "vendor": "",
        "customer": "",
        "currency": "",
        "subtotal": 0,
        "tax": 0,
        "total": 0,
        "line_items": [],
    },
    Task.FORM: {"fields": []},
}
"""What is said when the field readers' packages are not installed: nothing is made up."""

LETTERS_SHARE: Final = 0.8
"""How much of its row a line's letters fill."""

_PARTS: Final = regex.compile(r"\S+(?:[ ]\S+)*")
"""What two spaces, a tab or more part in a line."""

_MATHS: Final = regex.compile(r"\\[()\[\]]|\$\s+|\s+\$(?!\d)")


class Read(msgspec.Struct, frozen=True):
    """What was read of one element."""

    box: Box
    text: str
    grid: Grid | None = None


def write_fields(task: Task, read: Sequence[Read]) -> str:
    """The fields as the task's JSON."""
    try:
        from shared.engine.embedded import fields  # noqa: PLC0415 - needs its own packages

        return fields.write_fields(task, lines_of(read))
    except ImportError as error:
        log.warning("no fields are read without the package %s", error.name)
        return json.dumps(ABSENT[task], indent=2)


def lines_of(read: Sequence[Read]) -> list[Line]:
    """The lines and cells, each with the box it has if its element is evenly filled."""
    placed = [
        each
        for element in read
        for each in (_lines(element) if element.grid is None else _cells(element.box, element.grid))
    ]
    return [
        Line(Span(number, _quad(box), box, vertical=False), text, 1.0)
        for number, (box, text) in enumerate(placed)
    ]


def _lines(element: Read) -> Iterator[tuple[Bounds, str]]:
    rows = [row for row in _MATHS.sub(" ", element.text).split("\n") if row.strip()]
    left, top, right, bottom = element.box
    if not rows:
        return
    pitch = (bottom - top) / len(rows)
    letter = (right - left) / max(map(len, rows))
    for number, row in enumerate(rows):
        high = top + number * pitch
        for part in _PARTS.finditer(row):
            yield (
                (
                    left + part.start() * letter,
                    high,
                    left + part.end() * letter,
                    high + LETTERS_SHARE * pitch,
                ),
                part[0],
            )


def _cells(box: Box, grid: Grid) -> Iterator[tuple[Bounds, str]]:
    left, top, right, bottom = box
    wide, high = (right - left) / max(1, grid.columns), (bottom - top) / max(1, grid.rows)
    for cell in grid.cells:
        if text := " ".join(cell.text.split()):
            x, y = left + cell.column * wide, top + cell.row * high
            # A cell's words begin at its left edge and do not touch the next one's.
            width = cell.columns * wide * LETTERS_SHARE
            yield (x, y, x + width, y + LETTERS_SHARE * high), text


def _quad(box: Bounds) -> Quad:
    left, top, right, bottom = box
    return (left, top), (right, top), (right, bottom), (left, bottom)
