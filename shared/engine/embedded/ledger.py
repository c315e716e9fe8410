"""Looks things up on a page of figures: labels and their values, names, sums. What receipts and
invoices share; the keys of their JSON are theirs, and goods have a place of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from shared.engine.embedded import labels
from shared.engine.embedded.amounts import Amount, currency_in, read_amount, settled, split_amount
from shared.engine.embedded.bounds import line_height, overlap_x
from shared.engine.embedded.cells import text_rows
from shared.engine.embedded.lines import Line

Row = list[Line]

BELOW_MAX_EM: Final = 2.5
"""A value under its label is at most this far below."""
WEAK_LETTERS: Final = 4
"""Labels this short ("to", "from") are words of any sentence; only a colon makes them labels."""
INNER_LABEL_MAX: Final = 12
MARKS: Final = " :：.#№°º-–—=|"
"""What stands between a label and its value."""
CLOSE: Final = 0.011
"""Products agree to a rounded cent."""

KINDS: Final = {
    "subtotal": labels.SUBTOTAL,
    "tax": labels.TAX,
    "payable": labels.PAYABLE,
    "total": labels.TOTAL,
    "paid": labels.PAID,
    "discount": labels.DISCOUNT,
    "counts": labels.COUNTS,
    "due_date": labels.DUE_DATE,
    "date": labels.DATE,
    "invoice_number": labels.INVOICE_NUMBER,
    "vendor": labels.VENDOR,
    "customer": labels.CUSTOMER,
    "ship_to": labels.SHIP_TO,
}
SUMS: Final = ("subtotal", "tax", "total", "payable", "paid", "discount", "counts")
"""Rows of these kinds are no goods."""


class Sums(msgspec.Struct, kw_only=True):
    """What a page states to be paid, 0 where it says nothing."""

    subtotal: float = 0
    tax: float = 0
    total: float = 0
    currency: str = ""


def rows_of(lines: Sequence[Line]) -> list[Row]:
    return text_rows([line for line in lines if line.text.strip() and not line.span.vertical])


def said(row: Sequence[Line]) -> str:
    return " ".join(line.text.strip() for line in row)


# ---- labels and values


def kind_of(text: str) -> tuple[str, str] | None:
    """Which field a text is the label of, and the label's words: the longest that fit."""
    best: tuple[str, str] | None = None
    for kind, words in KINDS.items():
        word = labels.begins(text, words)
        if word is None or (best is not None and len(word) <= len(best[1])):
            continue
        rest = " ".join(text.split())[len(word) :].lstrip()
        weak = len(word) <= WEAK_LETTERS and word.isascii() and kind not in SUMS
        if weak and rest and rest[0] not in ":：#":
            continue
        best = kind, word
    return best


def rest_of(text: str, word: str) -> str:
    """What follows a label in the same line."""
    bare = " ".join(text.split())
    lead = len(bare) - len(bare.lstrip(" *#-–—=|.:"))
    rest = bare[lead + len(word) :].strip(MARKS)
    # A second label within the line: "Bill to: Name: Jane Fox".
    inner, colon, value = rest.replace("：", ":").partition(":")
    nested = colon and len(inner) <= INNER_LABEL_MAX and not any(map(str.isdigit, inner))
    return value.strip(MARKS) if nested else rest


def values_of(rows: Sequence[Row], kind: str) -> Iterator[str]:
    """Texts that stand where a value of this kind does: after its label, beside it, below it."""
    for at, row in enumerate(rows):
        for index, line in enumerate(row):
            found = kind_of(line.text)
            if found is None or found[0] != kind:
                continue
            rest = rest_of(line.text, found[1])
            if rest:
                yield rest
            elif index + 1 < len(row) and kind_of(row[index + 1].text) is None:
                yield row[index + 1].text.strip()
            elif (below := _below(line, rows[at + 1 : at + 3])) is not None:
                yield below.text.strip()


def _below(line: Line, rows: Sequence[Row]) -> Line | None:
    for row in rows:
        for other in row:
            gap = other.span.box[1] - line.span.box[3]
            level = overlap_x(line.span.box, other.span.box) > 0
            if level and gap < BELOW_MAX_EM * line_height(line.span):
                return other if kind_of(other.text) is None else None
    return None


def first_name(rows: Sequence[Row]) -> str:
    """The name at the head of a page: its largest words that do not name the paper."""
    best: Line | None = None
    for row in rows:
        for line in row:
            letters = sum(char.isalpha() for char in line.text)
            titled = labels.is_title(line.text) or kind_of(line.text) is not None
            if letters < 2 or titled or read_amount(line.text) is not None:
                continue
            if best is None or line_height(line.span) > 1.15 * line_height(best.span):
                best = line
    return best.text.strip() if best is not None else ""


# ---- sums


def sum_kind(row: Sequence[Line]) -> tuple[str, str] | None:
    """Which sum a row states, and the row from its label on."""
    for index, line in enumerate(row):
        found = kind_of(line.text)
        if found is not None and found[0] in SUMS:
            return found[0], said(row[index:])
    return None


def read_sums(rows: Sequence[Row]) -> Sums:
    """Subtotal, tax and total as they are printed; what is not printed stays 0."""
    found: dict[str, list[Amount]] = {}
    currency = ""
    for at, row in enumerate(rows):
        stated = sum_kind(row)
        if stated is None:
            continue
        kind, text = stated
        amount = _amount_at(rows, at, text)
        if amount is None:
            continue
        found.setdefault(kind, []).append(amount)
        if kind in {"total", "payable", "subtotal"}:
            currency = amount.currency or currency_in(text) or currency
    sums = Sums(currency=settled(currency, _page(rows)))
    totals = found.get("payable") or found.get("total") or []
    sums.total = totals[-1].value if totals else 0
    sums.subtotal = found["subtotal"][0].value if "subtotal" in found else 0
    sums.tax = _tax([amount.value for amount in found.get("tax", [])], sums)
    return sums


def _amount_at(rows: Sequence[Row], at: int, text: str) -> Amount | None:
    _, amount = split_amount(text)
    if amount is None and at + 1 < len(rows) and len(rows[at + 1]) == 1:
        return read_amount(said(rows[at + 1]))
    return amount


def _tax(taxes: Sequence[float], sums: Sums) -> float:
    """One tax, or several together; a sum of taxes printed below them is not added to them."""
    if not taxes:
        return 0
    between = round(sums.total - sums.subtotal, 4) if sums.subtotal and sums.total else None
    for tax in taxes:
        if between is not None and abs(tax - between) < CLOSE:
            return tax
    if len(taxes) > 1 and abs(sum(taxes[:-1]) - taxes[-1]) < CLOSE:
        return taxes[-1]
    return round(sum(taxes), 4)


def any_currency(rows: Sequence[Row]) -> str:
    """The first currency that the page names beside a number, or as a code."""
    for row in rows:
        currency = currency_in(said(row))
        if currency:
            return settled(currency, _page(rows))
    return ""


def _page(rows: Sequence[Row]) -> str:
    return "".join(map(said, rows))
