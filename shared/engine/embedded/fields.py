"""Field JSON of receipts, invoices and forms: the fixed keys of the contract, in its order.

What is not on the page is an empty text or 0; nothing is guessed, and no sum is worked out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from shared.engine.embedded.amounts import number, read_date
from shared.engine.embedded.forms import read_form
from shared.engine.embedded.goods import Good, find_heads, read_goods
from shared.engine.embedded.ledger import (
    Row,
    any_currency,
    first_name,
    kind_of,
    read_sums,
    rows_of,
    said,
    values_of,
)
from shared.engine.embedded.lines import Line
from shared.ocr import Task

MONTH_FIRST: Final = frozenset({"", "USD"})
"""Where 3/4 is in March."""

HEAD_ROWS_MAX: Final = 6
"""A shop's or firm's name stands in the first rows."""


def write_fields(task: Task, lines: Sequence[Line]) -> str:
    """The fields of a page as the task's JSON."""
    rows = rows_of(lines)
    match task:
        case Task.RECEIPT:
            fields = receipt(rows)
        case Task.INVOICE:
            fields = invoice(rows)
        case _:
            pairs = read_form(rows)
            fields = {"fields": [{"label": label, "value": value} for label, value in pairs]}
    return json.dumps(fields, ensure_ascii=False, indent=2)


def receipt(rows: Sequence[Row]) -> dict[str, object]:
    """`price` is what a line of goods costs, as printed at its end; no count printed is one."""
    sums = read_sums(rows)
    currency = sums.currency or any_currency(rows)
    merchant = next(values_of(rows, "vendor"), "") or first_name(_head(rows))
    return {
        "merchant": merchant,
        "date": _date(rows, currency),
        "currency": currency,
        "subtotal": number(sums.subtotal),
        "tax": number(sums.tax),
        "total": number(sums.total),
        "items": [_item(good) for good in read_goods(rows)],
    }


def _item(good: Good) -> dict[str, object]:
    price = good.amount if good.amount is not None else good.unit or 0
    return {"name": good.name, "qty": number(good.quantity or 1), "price": number(price)}


def invoice(rows: Sequence[Row]) -> dict[str, object]:
    sums = read_sums(rows)
    currency = sums.currency or any_currency(rows)
    due = _labelled_date(rows, "due_date", currency)
    customer = next(values_of(rows, "customer"), "") or next(values_of(rows, "ship_to"), "")
    return {
        "invoice_number": _number(rows),
        "date": _date(rows, currency),
        "due_date": due,
        "vendor": next(values_of(rows, "vendor"), "") or first_name(_head(rows)),
        "customer": customer,
        "currency": currency,
        "subtotal": number(sums.subtotal),
        "tax": number(sums.tax),
        "total": number(sums.total),
        "line_items": [_line_item(good) for good in read_goods(rows)],
    }


def _line_item(good: Good) -> dict[str, object]:
    return {
        "description": good.name,
        "quantity": number(good.quantity or 0),
        "unit_price": number(good.unit or 0),
        "amount": number(good.amount or 0),
    }


def _number(rows: Sequence[Row]) -> str:
    """The words of an invoice's number: from its label to the first word without a digit."""
    for value in values_of(rows, "invoice_number"):
        kept: list[str] = []
        for word in value.split():
            if kept and not any(char.isdigit() for char in word):
                break
            kept.append(word)
        if any(char.isdigit() for char in "".join(kept)):
            return " ".join(kept).strip(",;")
    return ""


def _date(rows: Sequence[Row], currency: str) -> str:
    """The labelled date, or the first one on the page that is not the due date."""
    labelled = _labelled_date(rows, "date", currency)
    if labelled:
        return labelled
    for row in rows:
        for text in (*(line.text for line in row), said(row)):
            found = kind_of(text)
            if found is not None and found[0] == "due_date":
                break
            day = read_date(text, month_first=currency in MONTH_FIRST)
            if day:
                return day
    return ""


def _labelled_date(rows: Sequence[Row], kind: str, currency: str) -> str:
    for value in values_of(rows, kind):
        day = read_date(value, month_first=currency in MONTH_FIRST)
        if day:
            return day
    return ""


def _head(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows above the goods, the first few of them."""
    heads = find_heads(rows)
    return rows[: min(HEAD_ROWS_MAX, heads.row if heads is not None else len(rows))]
