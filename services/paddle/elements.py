"""Cuts a page into the elements that PaddleOCR-VL reads one at a time. Geometry and ink alone; the
regions come from a layout model that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec
from PIL.Image import Image

from shared.engine.embedded.bounds import area, overlap_x, overlap_y
from shared.engine.embedded.lines import Bounds, Region
from shared.engine.embedded.order import reading_order
from shared.families.sizes import clipped
from shared.ocr import Box, Category, Size

Regions = Callable[[Image], Sequence[Region]]
"""A layout model: the regions of a page in its pixels. Labels may be cdla's or PP-DocLayout's."""


class Kind(StrEnum):
    """What the model can be asked of an element."""

    TEXT = "text"
    TABLE = "table"
    FORMULA = "formula"
    CHART = "chart"
    PICTURE = "picture"
    """Nothing is asked."""


class Element(msgspec.Struct, frozen=True):
    """A part of the page."""

    kind: Kind
    category: Category
    box: Box
    printed: bool = True
    """It belongs into Markdown; running heads, notes and page numbers do not."""
    heading: int = 0
    """Its level, 0 for none."""


OVERLAP_MAX: Final = 0.7
"""Of two regions that share so much of the smaller one the larger is kept (the vendor's number)."""

LAYOUT_PX_MIN: Final = 500
"""The shorter side of a page that has a layout. On smaller ones, crops and strips of a few lines,
layout models see pictures; the model reads them whole without shrinking them."""

SIDE_PX_MIN: Final = 4
"""Smaller regions are none (the vendor's number)."""

MARGIN_SHARE: Final = 0.003
"""Of the page's longer side, kept around a region: cdla's boxes touch the letters."""

TITLE_SHARE: Final = 0.25
"""A title stands in this much of the page, from its top."""

LONE_PICTURE: Final = 0.6
"""A picture that covers so much of the page is a photo of what is to be read."""

_PICTURES: Final = frozenset({"figure", "image", "chart", "seal", "header_image", "footer_image"})
_UNPRINTED: Final = frozenset({"header", "footer", "footnote", "number", "aside_text"})
_TITLES: Final[Mapping[str, int]] = {
    "doc_title": 1,
    "title": 2,
    "paragraph_title": 2,
    "abstract_title": 2,
    "reference_title": 2,
    "content_title": 2,
}
_CATEGORIES: Final[Mapping[str, Category]] = {
    "header": Category.PAGE_HEADER,
    "footer": Category.PAGE_FOOTER,
    "number": Category.PAGE_FOOTER,
    "footnote": Category.FOOTNOTE,
    "vision_footnote": Category.FOOTNOTE,
    "figure_caption": Category.CAPTION,
    "table_caption": Category.CAPTION,
    "figure_title": Category.CAPTION,
    "table_title": Category.CAPTION,
    "chart_title": Category.CAPTION,
}


def whole_page(size: Size, kind: Kind = Kind.TEXT) -> Element:
    """The page as one element."""
    categories = {Kind.TABLE: Category.TABLE, Kind.FORMULA: Category.FORMULA}
    return Element(kind, categories.get(kind, Category.TEXT), (0, 0, *size))


def find_elements(page: Image, regions: Regions) -> list[Element]:
    """The page's elements in reading order. What no region covers but has ink is text; a page
    without regions, or with pictures alone, is one element, and so is one too small for a layout.
    """
    found = distinct(regions(page)) if min(page.size) >= LAYOUT_PX_MIN else []
    share = area((0, 0, *page.size)) * LONE_PICTURE
    kept = [region for region in found if region.label not in _PICTURES or area(region.box) < share]
    if all(region.label in _PICTURES for region in kept):
        return [whole_page(page.size)]
    kept += [Region("text", box, 0.0) for box in uncovered(page, [each.box for each in kept])]
    ordered = [kept[at] for at in reading_order([region.box for region in kept])]
    elements = [_element(region, page.size) for region in ordered]
    return (
        _with_title(elements, page.size) if "title" in {each.label for each in kept} else elements
    )


def _with_title(elements: list[Element], size: Size) -> list[Element]:
    """To cdla every heading is a title: the first one, high on the page, is the page's."""
    for at, element in enumerate(elements):
        if element.heading:
            if element.box[1] < size[1] * TITLE_SHARE:
                titled = {"heading": 1, "category": Category.TITLE}
                elements[at] = msgspec.structs.replace(element, **titled)
            break
    return elements


def distinct(regions: Sequence[Region]) -> list[Region]:
    """The regions without those that lie in a larger one; a picture may lie in a table."""
    kept: list[Region] = []
    large_first = sorted(regions, key=lambda region: area(region.box), reverse=True)
    for region in large_first:
        left, top, right, bottom = region.box
        small = right - left < SIDE_PX_MIN or bottom - top < SIDE_PX_MIN
        if not small and not any(_covers(other, region) for other in kept):
            kept.append(region)
    return kept


def _covers(large: Region, small: Region) -> bool:
    apart = (large.label in _PICTURES) != (small.label in _PICTURES)
    return not apart and _shared(large.box, small.box) > OVERLAP_MAX * area(small.box)


def _shared(a: Bounds, b: Bounds) -> float:
    return max(0.0, overlap_x(a, b)) * max(0.0, overlap_y(a, b))


def _element(region: Region, size: Size) -> Element:
    label = region.label.casefold().replace(" ", "_")
    margin = 0.0 if label in _PICTURES else max(size) * MARGIN_SHARE
    left, top, right, bottom = region.box
    box = clipped((left - margin, top - margin, right + margin, bottom + margin), size)
    if label in _PICTURES:
        return Element(Kind.PICTURE, Category.PICTURE, box)
    if label == "table":
        return Element(Kind.TABLE, Category.TABLE, box)
    if label == "equation" or ("formula" in label and label != "formula_number"):
        return Element(Kind.FORMULA, Category.FORMULA, box)
    if level := _TITLES.get(label, 0):
        category = Category.TITLE if level == 1 else Category.SECTION_HEADER
        return Element(Kind.TEXT, category, box, heading=level)
    category = _CATEGORIES.get(label, Category.TEXT)
    return Element(Kind.TEXT, category, box, printed=label not in _UNPRINTED)


# ---- what the layout model overlooked

LOOK_PX: Final = 1000
"""The longer side of the page when its ink is looked at."""

CONTRAST: Final = 60
"""Ink is this much darker than most of the page, or lighter where the page is dark."""

GAP_ROWS: Final = 12
GAP_COLUMNS: Final = 30
"""White between two leftovers, in pixels of the reduced page: an empty line, a gutter."""

INK_PX_MIN: Final = 20
RULE_PX: Final = 4
"""Less ink is a speck; thinner pieces are rulings."""

CUTS_MAX: Final = 6

FRAME_PX_MIN: Final = 40
FRAME_INK: Final = 0.8
"""What has so much ink along each of its edges is a frame; only what stands in it is looked at."""

COVERED_MAX: Final = 0.5
"""A leftover of which more than this is covered is what frames the regions."""


def uncovered(page: Image, boxes: Sequence[Bounds]) -> list[Bounds]:
    """Where there is ink outside of the boxes."""
    step = max(1, max(page.size) // LOOK_PX)
    ink = _ink(page.convert("L").reduce(step))
    small: list[Bounds] = [_divided(box, step) for box in boxes]
    for left, top, right, bottom in small:
        ink.paste(0, (int(left) - 1, int(top) - 1, int(right) + 2, int(bottom) + 2))
    left_over = [
        (float(left * step), float(top * step), float(right * step), float(bottom * step))
        for left, top, right, bottom in _pieces(ink, (0, 0, *ink.size), CUTS_MAX)
    ]
    return [
        piece
        for piece in left_over
        if sum(_shared(piece, box) for box in boxes) <= COVERED_MAX * area(piece)
    ]


def _divided(box: Bounds, by: int) -> Bounds:
    left, top, right, bottom = (place / by for place in box)
    return left, top, right, bottom


def _ink(grey: Image) -> Image:
    """Ink white on black."""
    counts, half, paper = grey.histogram(), grey.size[0] * grey.size[1] / 2, 255
    for paper, _ in enumerate(counts):
        half -= counts[paper]
        if half <= 0:
            break
    if paper >= 128:
        return grey.point(lambda value: 255 if value < paper - CONTRAST else 0)
    return grey.point(lambda value: 255 if value > paper + CONTRAST else 0)


def _pieces(ink: Image, box: Box, cuts: int) -> Iterator[Box]:
    """The parts of the ink that white parts, cut across, then down, and so on."""
    inked = ink.crop(box).getbbox()
    if inked is None:
        return
    box = (box[0] + inked[0], box[1] + inked[1], box[0] + inked[2], box[1] + inked[3])
    part = ink.crop(box)
    if part.histogram()[255] < INK_PX_MIN or min(part.size) <= RULE_PX:
        return
    if cuts == 0:
        yield box
    elif _is_frame(part):
        left, top, right, bottom = box
        inside = (left + RULE_PX, top + RULE_PX, right - RULE_PX, bottom - RULE_PX)
        yield from _pieces(ink, inside, cuts - 2)
    else:
        for cut in _cuts(part, box, across=cuts % 2 == 0):
            yield from _pieces(ink, cut, cuts - 1)


def _cuts(part: Image, box: Box, *, across: bool) -> Iterator[Box]:
    """The parts of a box between white rows, or between white columns."""
    left, top, right, bottom = box
    columns, rows = part.getprojection()
    if across:
        for start, end in _runs(rows, GAP_ROWS):
            yield left, top + start, right, top + end
    else:
        for start, end in _runs(columns, GAP_COLUMNS):
            yield left + start, top, left + end, bottom


def _is_frame(part: Image) -> bool:
    """Ink all around."""
    wide, high = part.size
    edges = ((0, 0, wide, 1), (0, high - 1, wide, high), (0, 0, 1, high), (wide - 1, 0, wide, high))
    large = min(part.size) > FRAME_PX_MIN
    return large and all(
        (edge := part.crop(box)).histogram()[255] >= FRAME_INK * max(edge.size) for box in edges
    )


def _runs(marks: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Stretches of marks with shorter gaps than that in them."""
    start = end = -1
    for at, mark in enumerate(marks):
        if not mark:
            continue
        if start < 0:
            start = at
        elif at - end >= gap:
            yield start, end
            start = at
        end = at + 1
    if start >= 0:
        yield start, end


def without_margins(crop: Image) -> Image:
    """A formula's crop without the white around it."""
    inked = _ink(crop.convert("L")).getbbox()
    return (
        crop
        if inked is None or inked[2] - inked[0] < 3 or inked[3] - inked[1] < 3
        else (crop.crop(inked))
    )
