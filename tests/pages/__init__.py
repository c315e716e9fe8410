"""The repository's own pages, drawn on demand with their ground truth. Nothing is read from disk
but fonts, and a page whose font is not installed says which package has it.

`python -m tests.pages FOLDER` writes them all as PNG files to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from tests.pages import grids, journal, ledgers, prose, scripts, trade
from tests.pages.fonts import FontMissing
from tests.pages.paper import Line, Page, Region, turned

__all__ = ("DRAWN", "FontMissing", "Line", "Page", "Region", "page")

DRAWN: Mapping[str, Callable[[], Page]] = {
    "letter": prose.letter,
    "columns": prose.columns,
    "listing": prose.listing,
    "journal": journal.journal,
    "small": prose.small,
    "ruled": ledgers.ruled,
    "unruled": ledgers.unruled,
    "receipt": ledgers.receipt,
    "invoice": ledgers.invoice,
    "form": ledgers.form,
    "slip": ledgers.slip,
    "receipt_us": trade.receipt_us,
    "receipt_de": trade.receipt_de,
    "invoice_uk": trade.invoice_uk,
    "wrapped": grids.wrapped,
    "spanned": grids.spanned,
    "korean": scripts.korean,
    "russian": scripts.russian,
    "chinese": scripts.chinese,
    "mixed": scripts.mixed,
    "letter_90": lambda: turned(prose.letter(), 90),
    "letter_180": lambda: turned(prose.letter(), 180),
    "letter_270": lambda: turned(prose.letter(), 270),
    "photograph": prose.photograph,
    "blank": prose.blank,
}


@cache
def page(name: str) -> Page:
    """Draw a page, once per process.

    Raises:
        FontMissing: its font is not installed.
    """
    return DRAWN[name]()
