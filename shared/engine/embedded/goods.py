"""Reads the goods of a receipt or an invoice: under the heads of their table, or without any from
names with amounts at the right. Works nothing out but what "2 x 3.50" comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import regex

from shared.engine.embedded import labels
from shared.engine.embedded.amounts import Amount, read_amount, split_amount
from shared.engine.embedded.bounds import centre_x, overlap_x, width
from shared.engine.embedded.ledger import CLOSE, Row, said, sum_kind
from shared.engine.embedded.lines import Line

COUNTED_MAX: Final = 99
"""A whole number without decimals up to this, before a name or an amount, is a count."""
CODE_DIGITS_MIN: Final = 6


class Good(msgspec.Struct):
    """A line of goods; `None` is what is not printed."""

    name: str
    quantity: float | None = None
    unit: float | None = None
    amount: float | None = None


HEADS: Final = {
    "name": labels.DESCRIPTION,
    "quantity": labels.QUANTITY,
    "unit": labels.UNIT_PRICE,
    "amount": labels.AMOUNT,
}


class Heads(msgspec.Struct, frozen=True):
    """The head of a table of goods: which row, and where its columns stand."""

    row: int
    columns: tuple[tuple[str, Line], ...]


def find_heads(rows: Sequence[Row]) -> Heads | None:
    """The first row with a name's and a figure's heading."""
    for at, row in enumerate(rows):
        columns: list[tuple[str, Line]] = []
        for line in row:
            kind = _head_kind(line.text, {kind for kind, _ in columns})
            columns.append((kind, line))
        kinds = {kind for kind, _ in columns}
        if "name" in kinds and kinds & {"quantity", "unit", "amount"}:
            return Heads(at, tuple(columns))
    return None


def _head_kind(text: str, taken: set[str]) -> str:
    bare = labels.plain(text.split("(", maxsplit=1)[0])
    for kind in ("quantity", "unit", "amount", "name"):
        if kind not in taken and bare in HEADS[kind]:
            return kind
    return ""


def read_goods(rows: Sequence[Row]) -> list[Good]:
    """The goods between the head of their table, or the top, and the first sum."""
    heads = find_heads(rows)
    start = heads.row + 1 if heads is not None else 0
    sums = [at for at in range(start, len(rows)) if _ends_goods(rows[at])]
    if heads is None and not sums:
        return []
    end = sums[0] if sums else len(rows)
    inside = rows[start:end]
    goods = _under_heads(inside, heads) if heads is not None else _by_amounts(inside)
    return [good for good in goods if good.amount is not None or good.unit is not None]


def _ends_goods(row: Row) -> bool:
    stated = sum_kind(row)
    return stated is not None and stated[0] in {"subtotal", "tax", "total", "payable"}


def _under_heads(rows: Sequence[Row], heads: Heads) -> list[Good]:
    goods: list[Good] = []
    for row in rows:
        places: dict[str, list[str]] = {}
        for line in row:
            kind = min(heads.columns, key=lambda column: _distance(line, column[1]))[0]
            places.setdefault(kind, []).append(line.text.strip())
        name = " ".join(places.get("name", []))
        figures = {kind: _figure(" ".join(places.get(kind, []))) for kind in HEADS}
        if not any(figures[kind] is not None for kind in ("quantity", "unit", "amount")):
            head, amount = split_amount(said(row))
            if amount is not None and name:
                goods.append(Good(head, amount=amount.value))
            elif goods and name and len(row) == 1:
                goods[-1].name = f"{goods[-1].name} {name}".strip()
            continue
        goods.append(Good(name, figures["quantity"], figures["unit"], figures["amount"]))
    return goods


def _distance(line: Line, head: Line) -> float:
    """How far a line stands from a head: nothing when their edges, or their middles, agree."""
    a, b = line.span.box, head.span.box
    if overlap_x(a, b) > 0.5 * min(width(a), width(b)):
        return 0.0
    return min(abs(a[0] - b[0]), abs(a[2] - b[2]), abs(centre_x(a) - centre_x(b)))


def _figure(text: str) -> float | None:
    if not text:
        return None
    amount = read_amount(text)
    if amount is None:
        counted = _COUNT.match(text)
        return float(counted[1].replace(",", ".")) if counted else None
    return amount.value


_COUNT: Final = regex.compile(r"(\d{1,4}(?:[.,]\d{1,3})?)\s*\p{L}{0,4}\.?$")
"""A count with its unit: "3 h", "2 pcs", "1,5 kg"."""
_TIMES: Final = regex.compile(
    r"(\d{1,4}(?:[.,]\d{1,3})?)\s*\p{L}{0,5}\.?\s*(?:[x×*@X]|à|по)\s*(?=\D{0,4}\d)(.+)"
)
"""2 x 3.50, 2 @ 3.50: a count and a price each."""
_LEADING: Final = regex.compile(r"(\d{1,2})\s*(?:[x×*X]\s*|\s)(?=\p{L})")
_TRAILING: Final = regex.compile(r"\s+[x×*X]\s*(\d{1,3})$|\s+(\d{1,3})\s*[x×*X]$")


def _by_amounts(rows: Sequence[Row]) -> list[Good]:
    """Goods without a head over them: a name, perhaps figures, and an amount at the right."""
    goods: list[Good] = []
    pending = ""
    for row in rows:
        if sum_kind(row) is not None:
            continue
        text = said(row)
        if times := _TIMES.fullmatch(text):
            _price_each(goods, times, pending)
            pending = ""
            continue
        name, amount = split_amount(text)
        named = any(char.isalpha() for char in name)
        if amount is not None and named and _is_price(row, amount):
            goods.append(_good(_without_code(name), amount.value))
            pending = ""
        else:
            pending = _without_code(text) if any(map(str.isalpha, text)) else ""
    return goods


def _without_code(name: str) -> str:
    """A name without the long number of the article after it."""
    words = name.split()
    while len(words) > 1 and words[-1].isdigit() and len(words[-1]) >= CODE_DIGITS_MIN:
        words.pop()
    return " ".join(words)


def _is_price(row: Row, amount: Amount) -> bool:
    """An amount of its own at the right, or one with a fraction: not the number of a house."""
    alone = len(row) > 1 and read_amount(row[-1].text) is not None
    return (
        (alone and amount.value != int(amount.value))
        or _has_fraction(said(row))
        or bool(amount.currency)
    )


def _has_fraction(text: str) -> bool:
    """The last figure of a text has two decimals."""
    figures = [word.strip("*+-–−)") for word in text.split() if any(map(str.isdigit, word))]
    last = figures[-1] if figures else ""
    return len(last) > 3 and last[-3] in ".," and last[-2:].isdigit()


def _price_each(goods: list[Good], times: regex.Match[str], pending: str) -> None:
    """A line "2 x 3.50 [7.00]" says more about the good above it, or prices the name above it."""
    count = float(times[1].replace(",", "."))
    head, last = split_amount(times[2])
    unit = read_amount(head) if head else last
    if unit is None or last is None:
        return
    amount = last.value if head else round(count * unit.value, 2)
    if goods and goods[-1].quantity is None and _agree(goods[-1].amount, amount):
        goods[-1].quantity, goods[-1].unit = count, unit.value
    elif pending:
        goods.append(Good(pending, count, unit.value, amount))


def _agree(amount: float | None, other: float) -> bool:
    return amount is not None and abs(amount - other) < CLOSE


def _good(name: str, amount: float) -> Good:
    """A name with figures around it: "2 Coffee", "Coffee x2", "Coffee 2 3.50"."""
    unit: float | None = None
    quantity: float | None = None
    if (times := _TIMES.search(name)) and times.start() > 0 and read_amount(times[2]):
        quantity, price = float(times[1].replace(",", ".")), read_amount(times[2])
        return Good(name[: times.start()].strip(), quantity, price.value if price else None, amount)
    rest, figure = split_amount(name)
    if figure is not None and any(char.isalpha() for char in rest):
        if _counts(name.rsplit(maxsplit=1)[-1], figure.value):
            name, quantity = rest, figure.value
        elif _has_fraction(name):
            name, unit = rest, figure.value
            again, count = split_amount(name)
            agrees = count is not None and abs(count.value * unit - amount) < CLOSE
            if count is not None and agrees and any(char.isalpha() for char in again):
                name, quantity = again, count.value
    if quantity is None and (leading := _LEADING.match(name)):
        name, quantity = name[leading.end() :], float(leading[1])
    elif quantity is None and (trailing := _TRAILING.search(name)):
        name, quantity = name[: trailing.start()], float(trailing[1] or trailing[2])
    return Good(name.strip(), quantity, unit, amount)


def _counts(text: str, value: float) -> bool:
    return text.isdigit() and 0 < value <= COUNTED_MAX
