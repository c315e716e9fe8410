"""What the steps of the embedded engine hand to each other about one upright page.

Plain frozen values in the upright page's pixels; nothing here computes or knows a model library.
"""

from __future__ import annotations

import msgspec

from shared.ocr import Category

Point = tuple[float, float]
"""x, y."""

Quad = tuple[Point, Point, Point, Point]
"""Corners clockwise from the top left, as the text of the line runs."""

Bounds = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Region(msgspec.Struct, frozen=True):
    """A region of the page as the layout model sees it."""

    label: str
    """One of cdla's: text, title, figure, figure_caption, table, table_caption, header, footer,
    reference, equation."""
    box: Bounds
    score: float


class Span(msgspec.Struct, frozen=True):
    """A detected line, before recognition."""

    index: int
    """Its number on the page, in the detector's order."""
    quad: Quad
    box: Bounds
    vertical: bool
    """Its text runs from top to bottom, as Chinese and Japanese columns do."""
    bullet: bool = False
    """A bullet stands to its left, outside of its box."""


class Line(msgspec.Struct, frozen=True):
    """A line, recognised. The text may be empty when nothing could be read."""

    span: Span
    text: str
    score: float


class Rulings(msgspec.Struct, frozen=True):
    """The long straight lines drawn on the page."""

    horizontal: tuple[tuple[float, float, float], ...] = ()
    """x1, y, x2."""
    vertical: tuple[tuple[float, float, float], ...] = ()
    """x, y1, y2."""


class Plan(msgspec.Struct, frozen=True):
    """A block to be read."""

    category: Category
    box: Bounds
    spans: tuple[Span, ...] = ()
    """In reading order. Some are cut at a ruling: their quads are new, and so are their indexes."""
    loose: bool = False
    """A table only by the alignment of its lines; `make_block` looks at their text."""
    sure: bool = False
    """The layout model, too, calls it a page header or footer."""
