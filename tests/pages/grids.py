"""Tables that are harder than rows and columns: cells of several lines, cells over several columns
and rows. All words are the project's own."""

from __future__ import annotations

from itertools import pairwise

from shared.ocr import Category
from tests.pages.fonts import Face
from tests.pages.paper import Line, Page, Sheet, wrap

ROOMS = (
    ("Room", "Use", "Open"),
    ("Kitchen", "Cooking for groups of up to twelve, with two ovens", "All day"),
    ("Library", "Quiet reading, no food or drink at any time", "9 to 18"),
    ("Workshop", "Wood and metal work under supervision only", "By request"),
)

VISITORS = (
    ("Old mill", "310", "280", "402", "391"),
    ("Ferry house", "95", "120", "133", "148"),
    ("Chapel", "41", "38", "52", "60"),
)

SPANNED_HTML = (
    '<tr><td rowspan="2">Site</td><td colspan="2">2022</td><td colspan="2">2023</td></tr>'
    "<tr><td>Spring</td><td>Autumn</td><td>Spring</td><td>Autumn</td></tr>"
)
"""The head of the second table as HTML has it."""


def wrapped() -> Page:
    """A ruled table whose middle column runs over two lines."""
    sheet = Sheet()
    y = top = 140
    edges, lines = (120, 340, 820, 1100), []
    sheet.rule((edges[0], top), (edges[-1], top))
    for number, row in enumerate(ROOMS):
        face = Face.SANS if number else Face.SANS_BOLD
        tallest = 0
        for (left, right), cell in zip(pairwise(edges), row, strict=True):
            runs = wrap(cell, right - left - 30, face, 24)
            lines += [
                sheet.line(run, (left + 14, y + 12 + at * 34), face, 24)
                for at, run in enumerate(runs)
            ]
            tallest = max(tallest, len(runs))
        y += 24 + tallest * 34
        sheet.rule((edges[0], y), (edges[-1], y))
    for edge in edges:
        sheet.rule((edge, top), (edge, y))
    sheet.add(Category.TABLE, *lines)
    sheet.tables.append(ROOMS)
    return sheet.page("wrapped")


def spanned() -> Page:
    """A ruled table with a head of two rows: one cell over both, two over two columns each."""
    sheet = Sheet()
    top, height, edges = 140, 52, (120, 420, 590, 760, 930, 1100)
    lines = list(head(sheet, top, height))
    for number, row in enumerate(VISITORS, 2):
        for left, cell in zip(edges, row, strict=False):
            lines.append(sheet.line(cell, (left + 14, top + number * height + 12), Face.SANS, 24))
    for number in (0, 2, 3, 4, 5):
        sheet.rule((edges[0], top + number * height), (edges[-1], top + number * height))
    sheet.rule((420, top + height), (1100, top + height))
    for x in (120, 420, 760, 1100):
        sheet.rule((x, top), (x, top + 5 * height))
    for x in (590, 930):
        sheet.rule((x, top + height), (x, top + 5 * height))
    sheet.add(Category.TABLE, *lines)
    return sheet.page("spanned")


def head(sheet: Sheet, top: int, height: int) -> list[Line]:
    first = (("Site", 134), ("2022", 480), ("2023", 820))
    second = (("Spring", 434), ("Autumn", 604), ("Spring", 774), ("Autumn", 944))
    return [
        sheet.line(text, (x, top + row * height + 12), Face.SANS_BOLD, 24)
        for row, cells in enumerate((first, second))
        for text, x in cells
    ]
