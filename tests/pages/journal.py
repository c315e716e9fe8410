"""A page of a journal: running heads over two columns, bullets set apart from their words, a
heading close above a ruled table. All words are the project's own."""

from __future__ import annotations

from shared.ocr import Category
from tests.pages.fonts import Face
from tests.pages.ledgers import table
from tests.pages.paper import Line, Page, Sheet, wrap
from tests.pages.prose import LEFT, RIGHT

HEADS = ("Keepers of the coast", "Chapter 3")
RULES = (
    "Two cans of oil, filled to the mark, for the lamp and one more for the stove below it",
    "A cloth for the glass",
    "The notebook, a pencil and a knife to sharpen it with on the way up the stairs",
)
OIL = (
    ("Year", "Litres", "Cost"),
    ("1871", "2,410", "84.10"),
    ("1872", "2,388", "83.95"),
    ("1873", "2,502", "90.20"),
)


def journal() -> Page:
    """Two columns under two running heads, a page number below."""
    sheet = Sheet()
    left, right, width, size = 110, 650, 480, 24
    first = sheet.line(HEADS[0], (left, 60), Face.SERIF, 20)
    second = sheet.right(HEADS[1], right + width, 60, Face.SERIF, 20)
    sheet.add(Category.PAGE_HEADER, first)
    sheet.add(Category.PAGE_HEADER, second)
    y = sheet.title("Ninety steps", (left, 150), Face.SERIF_BOLD, 34)
    for text in LEFT:
        y = sheet.paragraph(text, (left, y), width, Face.SERIF, size)
    for text in RULES:
        y = item(sheet, text, (left, y), width)
    y = sheet.title("What the fog knew", (right, 150), Face.SERIF_BOLD, 34)
    for text in RIGHT[:2]:
        y = sheet.paragraph(text, (right, y), width, Face.SERIF, size)
    y = sheet.title("Oil and its price", (right, y + 20), Face.SANS_BOLD, 38)
    table(sheet, OIL, y, (right, 800, 970, right + width), rules=True)
    sheet.add(Category.PAGE_FOOTER, sheet.line("41", (610, 1690), Face.SERIF, 20))
    return sheet.page("journal")


def item(sheet: Sheet, text: str, xy: tuple[int, int], width: int) -> int:
    """Wrapped text, and to its left a bullet; answers where the next thing may start."""
    (x, y), size = xy, 24
    left, top, _, _ = sheet.line("•", (x + 4, y), Face.SERIF, size).box
    runs = wrap(text, width - 46, Face.SERIF, size)
    lines = [
        sheet.line(run, (x + 46, y + at * 35), Face.SERIF, size) for at, run in enumerate(runs)
    ]
    _, upper, right, lower = lines[0].box
    lines[0] = Line(f"• {runs[0]}", (left, min(top, upper), right, lower))
    sheet.add(Category.LIST_ITEM, *lines)
    return y + 35 * len(lines) + 16
