"""Where LightOnOCR says things stand: the blocks of version 3's grounding mode, and the pictures of
the -bbox checkpoints of version 2. Coordinates are 0..1000 of the width and of the height."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import regex

from shared.families.sizes import scaled
from shared.ocr import Block, Box, Category, Size

GRID: Final[Size] = (1000, 1000)

LABELS: Final[Mapping[str, Category]] = {
    "title": Category.TITLE,
    "section": Category.SECTION_HEADER,
    "text": Category.TEXT,
    "list": Category.LIST_ITEM,
    "caption": Category.CAPTION,
    "footnote": Category.FOOTNOTE,
    "page_footnote": Category.FOOTNOTE,
    "header": Category.PAGE_HEADER,
    "page_header": Category.PAGE_HEADER,
    "footer": Category.PAGE_FOOTER,
    "page_footer": Category.PAGE_FOOTER,
    "page_number": Category.PAGE_FOOTER,
    "table": Category.TABLE,
    "chart": Category.TABLE,
    "formula": Category.FORMULA,
    "image": Category.PICTURE,
    "header_image": Category.PICTURE,
    "footer_image": Category.PICTURE,
}
"""A chart's body is its data as an HTML table. What is not here (aside_text, code) is text."""

_PLACE: Final = r"\s*(?<box>\d{1,4}\s*,\s*\d{1,4}\s*,\s*\d{1,4}\s*,\s*\d{1,4})\s*"
_MARKER: Final = regex.compile(
    rf"!\[(?<label>[A-Za-z_][\w-]*+)\+?\]\({_PLACE}\+?\)\+?[ \t]*"
    rf"|!\[(?<picture>[^\]\n]{{0,200}})\]\([^)\n]{{0,500}}\)[ \t]*{_PLACE}"
)


def read_blocks(text: str, *, size: Size) -> tuple[Block, ...]:
    """The blocks of an answer, on a page of that size; of one without boxes, none.

    A grounded block's text runs up to the next marker; a picture of version 2 stands in the middle
    of the text and has none.
    """
    marks = list(_MARKER.finditer(text))
    blocks: list[Block] = []
    for at, mark in enumerate(marks):
        end = marks[at + 1].start() if at + 1 < len(marks) else len(text)
        box = _on_page(mark["box"], size)
        if mark["picture"] is not None:
            blocks.append(Block(Category.PICTURE, box))
            continue
        category = LABELS.get(mark["label"].casefold(), Category.TEXT)
        said = "" if category is Category.PICTURE else text[mark.end() : end].strip()
        blocks.append(Block(category, box, said))
    return tuple(blocks)


def _on_page(places: str, size: Size) -> Box:
    left, top, right, bottom = map(int, places.split(","))
    return scaled((left, top, right, bottom), GRID, size)
