"""Puts a page together from what PaddleOCR-VL says of its elements: Markdown, or fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from services.paddle.cleaning import (
    REPEATS_FROM,
    TABLE_REPEATS_FROM,
    as_formula,
    as_heading,
    as_paragraphs,
    with_dollars,
    without_repetition,
)
from services.paddle.elements import Element, Kind
from services.paddle.fields import Read, write_fields
from services.paddle.otsl import read_otsl, write_markdown
from shared.engine.embedded.tables import Cell, Grid, write_html
from shared.engine.family import Question
from shared.ocr import Block, Category, Task

BETWEEN: Final = "\n\n"


class _Elements:
    """The elements of a page and what has been said of each."""

    def __init__(self, elements: Sequence[Element], questions: Sequence[Question]) -> None:
        self.questions = questions
        self._elements = elements
        self._asked = [element for element in elements if element.kind is not Kind.PICTURE]
        self._said: dict[int, str] = {}
        """What has come so far, by question."""
        self._ended: set[int] = set()

    def _hear(self, number: int, text: str) -> None:
        self._said[number] = self._said.get(number, "") + text

    def _begun(self) -> list[int]:
        """Questions whose answers were cut off."""
        return [number for number in self._said if number not in self._ended]

    def _read(self, number: int) -> Read:
        """What is said of an element, without what looping added."""
        element = self._asked[number]
        table = element.kind is Kind.TABLE
        least = TABLE_REPEATS_FROM if table else REPEATS_FROM
        text = without_repetition(self._said.get(number, ""), characters_min=least).strip()
        return Read(element.box, text, read_otsl(text) if table else None)


class PageReading(_Elements):
    """A page as Markdown, element by element."""

    def __init__(
        self,
        elements: Sequence[Element],
        questions: Sequence[Question],
        *,
        tables: Literal["markdown", "html"] = "markdown",
    ) -> None:
        super().__init__(elements, questions)
        self._tables = tables
        self._spoken = False
        self._written: dict[Element, str] = {}

    def feed(self, number: int, text: str) -> str:
        self._hear(number, text)
        return ""

    def end(self, number: int) -> str:
        self._ended.add(number)
        element = self._asked[number]
        text = self._write(element, self._read(number))
        self._written[element] = text
        told = self._tell(text) if element.printed else ""
        return told + self._margins() if len(self._ended) == len(self.questions) else told

    def cut(self) -> str:
        told = "".join(self.end(number) for number in self._begun())
        return told + ("" if self._spoken else self._margins())

    def blocks(self) -> tuple[Block, ...]:
        return tuple(
            Block(element.category, element.box, self._written.get(element, ""))
            for element in self._elements
            if element.kind is Kind.PICTURE or element in self._written
        )

    def _tell(self, text: str) -> str:
        if not text:
            return ""
        between, self._spoken = BETWEEN if self._spoken else "", True
        return between + text

    def _margins(self) -> str:
        """A page of which nothing but running heads and the like was read shows those."""
        if self._spoken:
            return ""
        texts = (text for element, text in self._written.items() if not element.printed)
        return "".join(self._tell(text) for text in texts)

    def _write(self, element: Element, read: Read) -> str:
        match element.kind:
            case Kind.TABLE if read.grid is not None:
                grid = _with_dollars(read.grid)
                return write_html(grid) if self._tables == "html" else write_markdown(grid)
            case Kind.FORMULA:
                return as_formula(read.text)
            case Kind.CHART:
                return _chart(read.text)
            case Kind.TEXT if element.heading:
                return as_heading(with_dollars(read.text), element.heading)
            case Kind.TEXT if element.category in {Category.PAGE_HEADER, Category.PAGE_FOOTER}:
                return with_dollars(read.text)
            case _:
                return as_paragraphs(with_dollars(read.text))


class FieldReading(_Elements):
    """A receipt's, an invoice's or a form's JSON, valid however much of the page was read."""

    def __init__(
        self, task: Task, elements: Sequence[Element], questions: Sequence[Question]
    ) -> None:
        super().__init__(elements, questions)
        self._task = task
        self._told = False

    def feed(self, number: int, text: str) -> str:
        self._hear(number, text)
        return ""

    def end(self, number: int) -> str:
        self._ended.add(number)
        return self._write() if len(self._ended) == len(self.questions) else ""

    def cut(self) -> str:
        return self._write()

    def blocks(self) -> tuple[Block, ...]:
        return tuple(
            Block(self._asked[number].category, self._asked[number].box, self._read(number).text)
            for number in sorted(self._said)
        )

    def _write(self) -> str:
        if self._told:
            return ""
        self._told = True
        return write_fields(self._task, [self._read(number) for number in sorted(self._said)])


def _with_dollars(grid: Grid) -> Grid:
    cells = (
        Cell(cell.row, cell.column, with_dollars(cell.text).strip(), cell.rows, cell.columns)
        for cell in grid.cells
    )
    return Grid(grid.rows, grid.columns, tuple(cells), grid.head)


def _chart(text: str) -> str:
    """A chart's data: rows of texts with pipes between, the first of them heads."""
    rows = [[part.strip() for part in row.split("|")] for row in text.splitlines() if row.strip()]
    if not rows or all(len(row) == 1 for row in rows):
        return text
    cells = tuple(
        Cell(number, column, said)
        for number, row in enumerate(rows)
        for column, said in enumerate(row)
    )
    return write_markdown(Grid(len(rows), max(map(len, rows)), cells))
