"""The drawn pages themselves: the same every time, and true to what they claim to say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pages import DRAWN, FontMissing, Page, page

LEANING = {"photograph"}
"""Its lines' boxes are those of the page before it was photographed."""

RULED = {"journal", "ruled", "wrapped", "spanned", "receipt", "invoice", "invoice_uk", "form"}


def drawn(name: str) -> Page:
    try:
        return page(name)
    except FontMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in LEANING])
def test_ink_is_where_the_lines_say_and_nowhere_else(name: str) -> None:
    """Rules of tables and forms are the only other ink, and they are thin."""
    what = drawn(name)
    ink = np.asarray(what.image.convert("L")) < 128
    for line in what.lines:
        left, top, right, bottom = line.box
        assert 0 <= left < right <= what.size[0]
        assert 0 <= top < bottom <= what.size[1]
        assert ink[top:bottom, left:right].any(), line.text
    outside = ink.copy()
    for left, top, right, bottom in (line.box for line in what.lines):
        outside[top:bottom, left:right] = False
    if name not in RULED:
        assert not outside.any()


def test_a_page_is_drawn_the_same_every_time() -> None:
    again = {name: DRAWN[name]().png for name in ("receipt", "photograph", "letter_90")}
    assert all(png == drawn(name).png for name, png in again.items())


def test_names_are_their_own() -> None:
    assert [drawn(name).name for name in DRAWN] == list(DRAWN)


def test_tables_and_fields_are_on_the_page() -> None:
    for name in DRAWN:
        what = drawn(name)
        written = " ".join(what.text.split())
        cells = {cell for table in what.tables for row in table for cell in row}
        assert {cell for cell in cells if cell not in written} == set()
        for key in ("merchant", "vendor", "customer", "invoice_number"):
            assert what.fields.get(key, "") in written
