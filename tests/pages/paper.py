"""A sheet to set text on that remembers what it says and where. It draws the page and keeps its
ground truth in one go, so the two cannot differ; it knows no page in particular."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from PIL import Image, ImageDraw

from shared.ocr import Box, Category, Size
from tests.pages.fonts import Face, font

A4_150: Size = (1240, 1754)
"""A4 at 150 dpi."""
A4_200: Size = (1654, 2339)
"""A4 at 200 dpi."""

INK = (24, 24, 28)


class Line(msgspec.Struct, frozen=True):
    """A run of text that stands alone on its line, with the box of its ink."""

    text: str
    box: Box


class Region(msgspec.Struct, frozen=True):
    """What belongs together on the page, in reading order."""

    category: Category
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn page and everything a reader of it should find."""

    name: str
    png: bytes
    size: Size
    regions: tuple[Region, ...] = ()
    tables: tuple[tuple[tuple[str, ...], ...], ...] = ()
    """Each table as rows of cells, the head first."""
    fields: Mapping[str, Any] = {}
    """What the receipt, invoice or form answer must be."""

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for region in self.regions for line in region.lines)

    @property
    def text(self) -> str:
        return "\n\n".join(region.text for region in self.regions)

    @property
    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.png)).convert("RGB")


class Sheet:
    """A blank sheet with a pen; each method adds one region and says where it ended."""

    def __init__(self, size: Size = A4_150) -> None:
        self.image = Image.new("RGB", size, (255, 255, 255))
        self.draw = ImageDraw.Draw(self.image)
        self.regions: list[Region] = []
        self.tables: list[tuple[tuple[str, ...], ...]] = []

    def line(self, text: str, xy: tuple[int, int], face: Face, size: int) -> Line:
        """Draw one run of text; it becomes part of no region by itself."""
        chosen = font(face, size)
        self.draw.text(xy, text, font=chosen, fill=INK)
        left, top, right, bottom = self.draw.textbbox(xy, text, font=chosen)
        return Line(text, (int(left), int(top), int(right), int(bottom)))

    def right(self, text: str, x: int, y: int, face: Face, size: int) -> Line:
        """Draw a run of text that ends at `x`."""
        return self.line(text, (x - round(font(face, size).getlength(text)), y), face, size)

    def add(self, category: Category, *lines: Line) -> None:
        self.regions.append(Region(category, lines))

    def title(
        self, text: str, xy: tuple[int, int], face: Face, size: int, *, top: bool = False
    ) -> int:
        """A heading on one line; answers where the next thing may start."""
        self.add(
            Category.TITLE if top else Category.SECTION_HEADER, self.line(text, xy, face, size)
        )
        return xy[1] + round(size * 1.9)

    def paragraph(
        self,
        text: str,
        xy: tuple[int, int],
        width: int,
        face: Face,
        size: int,
        *,
        category: Category = Category.TEXT,
    ) -> int:
        """Wrapped text; answers where the next thing may start."""
        x, y = xy
        lines = []
        for run in wrap(text, width, face, size):
            lines.append(self.line(run, (x, y), face, size))
            y += round(size * 1.45)
        self.add(category, *lines)
        return y + round(size * 0.8)

    def rule(self, start: tuple[int, int], end: tuple[int, int], width: int = 2) -> None:
        self.draw.line((*start, *end), fill=INK, width=width)

    def page(self, name: str, fields: Mapping[str, Any] | None = None) -> Page:
        return Page(
            name=name,
            png=encode(self.image),
            size=self.image.size,
            regions=tuple(self.regions),
            tables=tuple(self.tables),
            fields=fields or {},
        )


def wrap(text: str, width: int, face: Face, size: int) -> Sequence[str]:
    """Break at spaces, or anywhere in a script that has none; never inside a word."""
    chosen = font(face, size)
    spaced = " " in text
    parts = text.split(" ") if spaced else list(text)
    glue = " " if spaced else ""
    lines: list[str] = []
    current = ""
    for part in parts:
        longer = current + glue + part if current else part
        closes = part in set("，。、；：！？」）")
        if current and chosen.getlength(longer) > width and not closes:
            lines.append(current)
            current = part
        else:
            current = longer
    return [*lines, current]


def encode(image: Image.Image) -> bytes:
    """PNG bytes, the same for the same picture."""
    out = io.BytesIO()
    image.save(out, format="PNG", compress_level=6)
    return out.getvalue()


def turned(page: Page, degrees: int) -> Page:
    """The page as a scanner would give it when turned clockwise by 90, 180 or 270 degrees."""
    steps = {
        90: Image.Transpose.ROTATE_270,
        180: Image.Transpose.ROTATE_180,
        270: Image.Transpose.ROTATE_90,
    }
    image = page.image.transpose(steps[degrees])
    regions = tuple(
        Region(
            region.category,
            tuple(Line(line.text, turn(line.box, page.size, degrees)) for line in region.lines),
        )
        for region in page.regions
    )
    return msgspec.structs.replace(
        page, name=f"{page.name}_{degrees}", png=encode(image), size=image.size, regions=regions
    )


def turn(box: Box, size: Size, degrees: int) -> Box:
    """Where a box of the upright page stands once the page is turned clockwise."""
    left, top, right, bottom = box
    width, height = size
    match degrees:
        case 90:
            return height - bottom, left, height - top, right
        case 180:
            return width - right, height - bottom, width - left, height - top
        case 270:
            return top, width - right, bottom, width - left
        case _:
            return box
