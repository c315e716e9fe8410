"""Writes the answer to a task from blocks, as they come: in the shape the task has for the model
that the engine stands in for. Says nothing that was not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, Protocol

from shared.engine.embedded.fields import write_fields
from shared.engine.embedded.lines import Line
from shared.engine.protocol import Recipe
from shared.layout import DotsWriter, write_dots, write_grounded, write_tags
from shared.ocr import Block, Box, Category, Request, Size, Task

Tables = Literal["markdown", "html"]

PLAIN: Final = frozenset({Task.TEXT, Task.REGION, Task.FORMULA, Task.CHART, Task.FIGURE})
"""Tasks answered with lines as they are printed."""

WITHOUT_LAYOUT: Final = frozenset(
    {
        Task.TEXT,
        Task.REGION,
        Task.LOCATE,
        Task.FORMULA,
        Task.CHART,
        Task.FIGURE,
        Task.RECEIPT,
        Task.INVOICE,
        Task.FORM,
    }
)
"""Tasks that ask for words and not for what kind of region they stand in."""

UNPRINTED: Final = frozenset({Category.PAGE_HEADER, Category.PAGE_FOOTER})
"""What document models leave out of Markdown: running heads and page numbers. Plain text and
layouts have them."""

LOCATE_LINES_MAX: Final = 4
"""Most lines a phrase may run over."""

NO_TEXT: Final = "No text was found in it."


class Answer(Protocol):
    """An answer in the making. What `feed` and `finish` give, put together, is the whole of it."""

    tables: Tables
    """How `make_block` is to write tables."""
    plain: bool
    """Whether `make_block` is to leave out all markup."""

    def feed(self, block: Block, /) -> str:
        """The next block in reading order; the text that can be sent now."""

    def finish(self, blocks: Sequence[Block], lines: Sequence[Line], /) -> str:
        """All blocks and lines of the page; what remains to be sent.

        To locate a phrase the lines stand on the page as sent, otherwise on the upright one.
        """


def needs_layout(task: Task) -> bool:
    """The layout model's regions, and the rulings, change the answer."""
    return task not in WITHOUT_LAYOUT


def open_answer(request: Request, recipe: Recipe, size: Size) -> Answer:
    """The answer to a request about a page of that size."""
    match request.task:
        case Task.LAYOUT | Task.LAYOUT_ONLY if recipe.layout == "grounding":
            return Grounding(size, texts=request.task is Task.LAYOUT)
        case Task.LAYOUT | Task.LAYOUT_ONLY:
            return Dots(texts=request.task is Task.LAYOUT)
        case Task.LOCATE:
            return Located(request.phrase or request.prompt, recipe, size)
        case Task.RECEIPT | Task.INVOICE | Task.FORM:
            return Fields(request.task)
        case Task.CHAT:
            return Description(size, recipe.tables)
        case Task.TABLE:
            return Written(recipe.tables, only=Category.TABLE)
        case Task.MARKDOWN:
            return Written(recipe.tables, without=UNPRINTED)
        case _:
            return Written(recipe.tables, plain=True)


class Written:
    """The blocks' texts, a blank line between two."""

    def __init__(
        self,
        tables: Tables,
        *,
        plain: bool = False,
        only: Category | None = None,
        without: frozenset[Category] = frozenset(),
    ) -> None:
        self.tables = tables
        self.plain = plain
        self._only = only
        self._without = without
        self._started = False

    def feed(self, block: Block, /) -> str:
        text = block.text.strip()
        wanted = self._only in {None, block.category} and block.category not in self._without
        if not text or not wanted:
            return ""
        head = "\n\n" if self._started else ""
        self._started = True
        return head + text

    def finish(self, blocks: Sequence[Block], _lines: Sequence[Line], /) -> str:
        """Nothing remains; a page of which nothing but its margins was read shows those."""
        if self._started or self._only is not None:
            return ""
        return "\n\n".join(text for block in blocks if (text := block.text.strip()))


class Dots:
    """dots' JSON array, an object for each block."""

    tables: Tables = "html"
    plain = False

    def __init__(self, *, texts: bool) -> None:
        self._writer = DotsWriter(texts=texts)

    def feed(self, block: Block, /) -> str:
        return self._writer.feed(block)

    def finish(self, _blocks: Sequence[Block], _lines: Sequence[Line], /) -> str:
        return self._writer.close()


class Grounding:
    """deepseek's tags before each block's text."""

    tables: Tables = "html"
    plain = False

    def __init__(self, size: Size, *, texts: bool) -> None:
        self._size = size
        self._texts = texts
        self._started = False

    def feed(self, block: Block, /) -> str:
        head = "\n\n" if self._started else ""
        self._started = True
        return head + write_grounded(block, self._size, texts=self._texts)

    def finish(self, _blocks: Sequence[Block], _lines: Sequence[Line], /) -> str:
        return ""


# ---- locate


class Located:
    """Where a phrase stands: the boxes of the lines that hold it."""

    tables: Tables = "markdown"
    plain = True

    def __init__(self, phrase: str, recipe: Recipe, size: Size) -> None:
        self._phrase = phrase.strip()
        self._grounding = recipe.layout == "grounding"
        self._size = size

    def feed(self, _block: Block, /) -> str:
        return ""

    def finish(self, _blocks: Sequence[Block], lines: Sequence[Line], /) -> str:
        found = find_phrase(self._phrase, lines)
        boxes = [_box(line) for line in found]
        if not self._grounding:
            return write_dots(
                Block(Category.TEXT, box, line.text) for box, line in zip(boxes, found, strict=True)
            )
        if not boxes:
            return f"The text {self._phrase!r} was not found in the image."
        return write_tags(self._phrase, boxes, self._size)


def find_phrase(phrase: str, lines: Sequence[Line]) -> list[Line]:
    """The lines that hold a phrase, whatever its case and white space; it may run over lines that
    follow each other when no single line has it."""
    wanted = _bare(phrase)
    if not wanted:
        return []
    single = [line for line in lines if wanted in _bare(line.text)]
    if single:
        return single
    for count in range(2, LOCATE_LINES_MAX + 1):
        for at in range(len(lines) - count + 1):
            run = lines[at : at + count]
            if wanted in "".join(_bare(line.text) for line in run):
                return list(run)
    return []


def _bare(text: str) -> str:
    return "".join(text.split()).casefold()


def _box(line: Line) -> Box:
    left, top, right, bottom = (round(place) for place in line.span.box)
    return left, top, right, bottom


# ---- fields


class Fields:
    """A receipt's, invoice's or form's JSON."""

    tables: Tables = "markdown"
    plain = True

    def __init__(self, task: Task) -> None:
        self._task = task

    def feed(self, _block: Block, /) -> str:
        return ""

    def finish(self, _blocks: Sequence[Block], lines: Sequence[Line], /) -> str:
        return write_fields(self._task, lines)


# ---- chat

NOUNS: Final = {
    Category.CAPTION: ("caption", "captions"),
    Category.FOOTNOTE: ("footnote", "footnotes"),
    Category.FORMULA: ("formula", "formulas"),
    Category.LIST_ITEM: ("list", "lists"),
    Category.PAGE_FOOTER: ("page footer", "page footers"),
    Category.PAGE_HEADER: ("page header", "page headers"),
    Category.PICTURE: ("picture", "pictures"),
    Category.SECTION_HEADER: ("heading", "headings"),
    Category.TABLE: ("table", "tables"),
    Category.TEXT: ("block of text", "blocks of text"),
    Category.TITLE: ("title", "titles"),
}


class Description:
    """What can honestly be said of an image: its size, what stands on it, the text on it."""

    plain = False

    def __init__(self, size: Size, tables: Tables) -> None:
        self.tables = tables
        self._size = size
        self._text = Written(tables)

    def feed(self, _block: Block, /) -> str:
        return ""

    def finish(self, blocks: Sequence[Block], _lines: Sequence[Line], /) -> str:
        width, height = self._size
        text = "".join(map(self._text.feed, blocks))
        said = f"The image is {width} x {height} pixels. {_contents(blocks)}"
        return f"{said} The text in it reads:\n\n{text}" if text else f"{said} {NO_TEXT}"


def _contents(blocks: Sequence[Block]) -> str:
    counts = Counter(block.category for block in blocks)
    parts = []
    for category, count in counts.most_common():
        one, many = NOUNS[category]
        article = "an" if one[0] in "aeiou" else "a"
        parts.append(f"{article} {one}" if count == 1 else f"{count} {many}")
    if not parts:
        return "Nothing on it was recognised as text, a table or a picture."
    *rest, last = parts
    return f"It shows {', '.join(rest)} and {last}." if rest else f"It shows {last}."
