"""The texts in which models write the layout of a page, both ways: dots' JSON array and deepseek's
ref/det tags. Pure: knows no engine and no wire; what it reads may be cut short or damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import regex

from shared.ocr import Block, Box, Category, Size

# ---- dots: [{"bbox": [x1, y1, x2, y2], "category": "Text", "text": "..."}, ...]

COORDINATE_MAX: Final = 10**7
"""Larger numbers are no pixels; a page has 100 million of them at most."""

FAILURES_MAX: Final = 100
"""Braces that begin no object; a text with more of them is no layout."""

_CATEGORIES: Final = {category.value.casefold(): category for category in Category}


class DotsWriter:
    """Writes the array block by block. The pieces together are one valid JSON array.

    Pictures have no text; with `texts=False` nothing has.
    """

    def __init__(self, *, texts: bool = True) -> None:
        self._texts = texts
        self._started = False

    def feed(self, block: Block) -> str:
        head = ", " if self._started else "["
        self._started = True
        return head + json.dumps(self._item(block), ensure_ascii=False)

    def close(self) -> str:
        return "]" if self._started else "[]"

    def _item(self, block: Block) -> dict[str, object]:
        item: dict[str, object] = {"bbox": list(block.box), "category": block.category.value}
        if self._texts and block.category is not Category.PICTURE:
            item["text"] = block.text
        return item


def write_dots(blocks: Iterable[Block], *, texts: bool = True) -> str:
    """The whole array at once."""
    writer = DotsWriter(texts=texts)
    return "".join(map(writer.feed, blocks)) + writer.close()


def read_dots(text: str) -> tuple[Block, ...]:
    """The blocks of a layout JSON: an array, an object that holds one, or objects in a row.

    What is whole is read; a last object that was cut short, and objects without four numbers as
    their box, are left out. A text that holds no block gives no blocks.
    """
    return tuple(block for item in _objects(text) if (block := _block(item)) is not None)


def _objects(text: str) -> Iterator[object]:
    """Every outermost JSON object in a text that may be damaged, lists in objects unpacked."""
    decoder = json.JSONDecoder(strict=False)
    at, failures = text.find("{"), 0
    while at >= 0 and failures < FAILURES_MAX:
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            # An object that does not end: perhaps one around the list, whose own items do.
            at += 1
            failures += 1
        else:
            yield from _unpacked(item)
        at = text.find("{", at)


def _unpacked(item: object) -> Iterator[object]:
    if isinstance(item, dict) and "bbox" not in item:
        for value in item.values():
            yield from value if isinstance(value, list) else ()
    else:
        yield item


def _block(item: object) -> Block | None:
    if not isinstance(item, dict) or (box := _box(item.get("bbox"))) is None:
        return None
    category = _CATEGORIES.get(str(item.get("category", "")).casefold(), Category.TEXT)
    text = item.get("text")
    return Block(category, box, text if isinstance(text, str) else "")


def _box(value: object) -> Box | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(n, int | float) and abs(n) <= COORDINATE_MAX for n in value):
        return None
    left, top, right, bottom = (round(n) for n in value)
    return left, top, right, bottom


# ---- deepseek: <|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2]]<|/det|>\ntext\n\n

GRID: Final = 999
"""Coordinates are 0..999 of the width and of the height."""

LABELS: Final = {
    Category.TITLE: "title",
    Category.SECTION_HEADER: "sub_title",
    Category.TEXT: "text",
    Category.LIST_ITEM: "list",
    Category.TABLE: "table",
    Category.PICTURE: "image",
    Category.CAPTION: "image_caption",
    Category.FORMULA: "equation",
    Category.FOOTNOTE: "footnote",
    Category.PAGE_HEADER: "header",
    Category.PAGE_FOOTER: "footer",
}
TABLE_CAPTION: Final = "table_caption"
"""A caption that begins as tables' captions do."""

_FROM_LABEL: Final = {
    **{label: category for category, label in LABELS.items()},
    TABLE_CAPTION: Category.CAPTION,
    "figure_caption": Category.CAPTION,
    "caption": Category.CAPTION,
    "table_footnote": Category.FOOTNOTE,
    "figure": Category.PICTURE,
    "formula": Category.FORMULA,
    "page_number": Category.PAGE_FOOTER,
    "list_item": Category.LIST_ITEM,
}
_REF: Final = "<|ref|>"
_OF_TABLE: Final = regex.compile(r"\s*(?:tab(?:le|elle|leau|la)?\b|табл|表)", regex.IGNORECASE)
_TAG: Final = regex.compile(
    r"<\|ref\|>(?P<label>.*?)<\|/ref\|>\s*<\|det\|>(?P<boxes>.*?)<\|/det\|>", regex.DOTALL
)


def write_grounding(blocks: Iterable[Block], size: Size, *, texts: bool = True) -> str:
    """All blocks, a blank line between two."""
    return "\n\n".join(write_grounded(block, size, texts=texts) for block in blocks)


def write_grounded(block: Block, size: Size, *, texts: bool = True) -> str:
    """One block; a picture is its tags alone."""
    label = LABELS[block.category]
    if block.category is Category.CAPTION and _OF_TABLE.match(block.text):
        label = TABLE_CAPTION
    tags = write_tags(label, [block.box], size)
    text = block.text.strip() if texts and block.category is not Category.PICTURE else ""
    return f"{tags}\n{text}" if text else tags


def write_tags(label: str, boxes: Sequence[Box], size: Size) -> str:
    """A label and where it is, in several places perhaps: also the answer to a locate request."""
    inner = ", ".join(str(list(_to_grid(box, size))) for box in boxes)
    return f"<|ref|>{label}<|/ref|><|det|>[{inner}]<|/det|>"


def read_grounding(text: str, size: Size) -> tuple[Block, ...]:
    """The blocks of a text with ref/det tags; without any, none.

    A label that no layout has is what was found there, as in the answer to a locate request. Where
    one tag has several boxes the first carries the text. Text before the first tag is left out, and
    so are tags that were cut short.
    """
    blocks: list[Block] = []
    tags = list(_TAG.finditer(text))
    for at, tag in enumerate(tags):
        end = tags[at + 1].start() if at + 1 < len(tags) else _end(text, tag.end())
        label, said = tag["label"].strip(), text[tag.end() : end].strip()
        category = _FROM_LABEL.get(label.casefold())
        if category is None:
            category, said = Category.TEXT, said or label
        for number, box in enumerate(_from_grid(tag["boxes"], size)):
            blocks.append(Block(category, box, said if number == 0 else ""))
    return tuple(blocks)


def without_begun_tag(text: str) -> str:
    """The text without a ref tag at its very end that was begun and not finished."""
    return text[: _end(text, 0)]


def category_of(label: str) -> Category:
    """What a label means; one that no layout has is text."""
    return _FROM_LABEL.get(label.strip().casefold(), Category.TEXT)


def _end(text: str, start: int) -> int:
    """Where the last block's text ends: at a tag that was begun and not finished."""
    cut = text.find(_REF, start)
    if cut >= 0:
        return cut
    begun = (n for n in range(len(_REF) - 1, 0, -1) if text.endswith(_REF[:n], start))
    # A single "<" at the end is more likely the page's own.
    length = next((n for n in begun if n > 1), 0)
    return len(text) - length


def _to_grid(box: Box, size: Size) -> Box:
    width, height = max(1, size[0]), max(1, size[1])
    left, top, right, bottom = (
        min(GRID, max(0, round(place * GRID / side)))
        for place, side in zip(box, (width, height, width, height), strict=True)
    )
    return left, top, right, bottom


def _from_grid(text: str, size: Size) -> list[Box]:
    try:
        places = msgspec.json.decode(text.strip(), type=list[list[float] | float])
    except msgspec.MsgspecError:
        return []
    # One box may stand without the outer brackets.
    single = [place for place in places if not isinstance(place, list)]
    boxes = [single] if single else places
    return [
        _scaled(box, size)
        for box in boxes
        if isinstance(box, list) and len(box) == 4 and max(map(abs, box)) <= COORDINATE_MAX
    ]


def _scaled(place: list[float], size: Size) -> Box:
    left, right = (round(n * size[0] / GRID) for n in place[::2])
    top, bottom = (round(n * size[1] / GRID) for n in place[1::2])
    return left, top, right, bottom
