"""Receipts, invoices and forms from hand-written lines: the contract's keys, and what is absent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.engine.embedded.amounts import (
    YEN,
    Amount,
    currency_in,
    read_amount,
    read_date,
    settled,
    split_amount,
)
from shared.engine.embedded.fields import write_fields
from shared.ocr import Task
from tests.shared.engine.handwritten import Paper

RIGHT = 600.0


def read(task: Task, paper: Paper) -> dict[str, Any]:
    found = json.loads(write_fields(task, paper.lines))
    assert isinstance(found, dict)
    return found


def slip(*rows: tuple[str, ...]) -> Paper:
    """A receipt: names at the left, counts in the middle, amounts ending at the right edge."""
    paper = Paper()
    for number, row in enumerate(rows):
        y = 100 + number * 40
        paper.write(row[0], 50, y)
        if len(row) > 1:
            paper.write(row[-1], RIGHT - 10 * len(row[-1]), y)
        if len(row) > 2:
            paper.write(row[1], 380, y)
    return paper


# ---- amounts, currencies, dates


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [
        ("12.50", 12.5, ""),
        ("$12.50", 12.5, "USD"),
        ("12,50 €", 12.5, "EUR"),
        ("1.234,56", 1234.56, ""),
        ("1 234,50 руб.", 1234.5, "RUB"),
        ("EUR 12.00", 12.0, "EUR"),
        ("12.00元", 12.0, "CNY"),
        ("₩12,000", 12000.0, "KRW"),
        ("-5.00", -5.0, ""),
        ("(5.00)", -5.0, ""),
        ("5.00-", -5.0, ""),
        ("3.50 A", 3.5, ""),
        ("12 .50", 12.5, ""),
    ],
)
def test_amounts(text: str, value: float, currency: str) -> None:
    assert read_amount(text) == Amount(value, currency)


@pytest.mark.parametrize("text", ["", "fox", "8%", "2 x 3.50", "4111111111111111", "No. 7", "$"])
def test_what_is_no_amount(text: str) -> None:
    assert read_amount(text) is None


@pytest.mark.parametrize(
    ("text", "head", "value"),
    [
        ("Coffee 3.50", "Coffee", 3.5),
        ("TOTAL: $ 12.50", "TOTAL:", 12.5),
        ("VAT 20% 4.50", "VAT 20%", 4.5),
        ("Summe 1 234,50 €", "Summe", 1234.5),
        ("Apples 2 3.50", "Apples 2", 3.5),
    ],
)
def test_the_amount_at_the_end(text: str, head: str, value: float) -> None:
    rest, amount = split_amount(text)
    assert amount is not None
    assert (rest, amount.value) == (head, value)


@pytest.mark.parametrize(
    ("text", "code"),
    [("Total USD", "USD"), ("Summe €", "EUR"), ("合计 ￥ 12", YEN), ("a US citizen", "")],
)
def test_currencies(text: str, code: str) -> None:
    assert currency_in(text) == code


@pytest.mark.parametrize(
    ("page", "code"), [("合计", "CNY"), ("合計 お釣り", "JPY"), ("TOTAL", "JPY")]
)
def test_the_yen_sign_is_also_the_yuans(page: str, code: str) -> None:
    assert settled(YEN, page) == code
    assert settled("EUR", page) == "EUR"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Date: 2024-01-15", "2024-01-15"),
        ("15.01.2024 14:33", "2024-01-15"),
        ("Jan 5, 2024", "2024-01-05"),
        ("5 janvier 2024", "2024-01-05"),
        ("15 января 2024 г.", "2024-01-15"),
        ("2024年1月15日", "2024-01-15"),
        ("2024년 1월 15일", "2024-01-15"),
        ("Tel 030 1234567", ""),
        ("14:33", ""),
        ("2 x 3.50", ""),
        ("10% 18.64", ""),
        ("no date", ""),
    ],
)
def test_dates(text: str, day: str) -> None:
    assert read_date(text) == day


def test_where_the_day_comes_first() -> None:
    assert read_date("03/04/2024") == "2024-03-04"
    assert read_date("03/04/2024", month_first=False) == "2024-04-03"


# ---- receipts


def test_a_receipt() -> None:
    paper = slip(
        ("THE FOX AND HOUND",),
        ("12 Old Earth Road",),
        ("01/15/2024 12:01 PM",),
        ("Coffee", "$7.00"),
        ("2 x 3.50",),
        ("Cake", "$4.20"),
        ("3 Tea", "$6.00"),
        ("SUBTOTAL", "$17.20"),
        ("Tax 8.25%", "$1.42"),
        ("TOTAL", "$18.62"),
        ("CASH", "$20.00"),
        ("CHANGE", "$1.38"),
    )
    found = read(Task.RECEIPT, paper)
    assert found == {
        "merchant": "THE FOX AND HOUND",
        "date": "2024-01-15",
        "currency": "USD",
        "subtotal": 17.2,
        "tax": 1.42,
        "total": 18.62,
        "items": [
            {"name": "Coffee", "qty": 2, "price": 7},
            {"name": "Cake", "qty": 1, "price": 4.2},
            {"name": "Tea", "qty": 3, "price": 6},
        ],
    }
    keys = ["merchant", "date", "currency", "subtotal", "tax", "total", "items"]
    assert list(found) == keys


@pytest.mark.parametrize(
    ("rows", "item"),
    [
        ([("Milk x2", "3.00")], {"name": "Milk", "qty": 2, "price": 3}),
        ([("2x Milk", "3.00")], {"name": "Milk", "qty": 2, "price": 3}),
        ([("Milk 2", "3.00")], {"name": "Milk", "qty": 2, "price": 3}),
        ([("Milk", "3.00"), ("2 @ 1.50",)], {"name": "Milk", "qty": 2, "price": 3}),
        ([("Milk 2 x 1.50", "3.00")], {"name": "Milk", "qty": 2, "price": 3}),
        ([("Milk 2 1.50", "3.00")], {"name": "Milk", "qty": 2, "price": 3}),
        ([("Milk 3.00 A",)], {"name": "Milk", "qty": 1, "price": 3}),
    ],
)
def test_counts_of_goods(rows: list[tuple[str, ...]], item: dict[str, object]) -> None:
    paper = slip(("Shop",), *rows, ("TOTAL", "3.00"))
    assert read(Task.RECEIPT, paper)["items"] == [item]


@pytest.mark.parametrize(
    ("lines", "sums"),
    [
        (
            [("Zwischensumme", "10,00"), ("MwSt 19%", "1,90"), ("Gesamtbetrag", "11,90 €")],
            (10, 1.9, 11.9),
        ),
        ([("Sous-total", "10,00"), ("TVA 20%", "2,00"), ("Total TTC", "12,00 €")], (10, 2, 12)),
        (
            [("Итого без НДС", "100,00"), ("НДС 20%", "20,00"), ("ИТОГО К ОПЛАТЕ", "120,00")],
            (100, 20, 120),
        ),
        ([("小计", "10.00"), ("税额", "1.00"), ("合计", "¥11.00")], (10, 1, 11)),
        ([("소계", "10,000"), ("부가세", "1,000"), ("합계", "11,000")], (10000, 1000, 11000)),
        ([("Subtotal", "9.00"), ("Total", "9.00"), ("Grand total", "9.50")], (9, 0, 9.5)),
        (
            [("Subtotal", "10.00"), ("GST 5%", "0.50"), ("PST 7%", "0.70"), ("Total", "11.20")],
            (10, 1.2, 11.2),
        ),
        ([("Total items", "5"), ("You saved", "3.00"), ("Total", "7.00")], (0, 0, 7)),
    ],
)
def test_sums(lines: list[tuple[str, str]], sums: tuple[float, float, float]) -> None:
    found = read(Task.RECEIPT, slip(("Shop",), *lines))
    assert (found["subtotal"], found["tax"], found["total"]) == sums


def test_goods_by_weight_and_article_numbers() -> None:
    paper = slip(
        ("MARKET",),
        ("MILK 007874235186", "3.48 F"),
        ("BANANAS 000000004011",),
        ("2.44 lb @ 0.58", "1.42 N"),
        ("SUBTOTAL", "4.90"),
        ("TOTAL", "4.90"),
        ("CHANGE DUE", "0.00"),
    )
    assert read(Task.RECEIPT, paper)["items"] == [
        {"name": "MILK", "qty": 1, "price": 3.48},
        {"name": "BANANAS", "qty": 2.44, "price": 1.42},
    ]


def test_a_russian_receipt() -> None:
    paper = slip(
        ("ООО Ромашка",),
        ("КАССОВЫЙ ЧЕК",),
        ("Хлеб", "1 x 45.00", "=45.00"),
        ("Молоко 3,2%", "2 x 80.00", "=160.00"),
        ("ИТОГ", "=205.00 руб"),
        ("в т.ч. НДС 10%", "18.64"),
        ("15.03.24 18:22",),
    )
    found = read(Task.RECEIPT, paper)
    assert (found["merchant"], found["date"]) == ("ООО Ромашка", "2024-03-15")
    assert (found["total"], found["tax"], found["currency"]) == (205, 18.64, "RUB")
    assert [item["qty"] for item in found["items"]] == [1, 2]


def test_nothing_is_made_up() -> None:
    paper = Paper()
    paper.column(["Dear fox,", "we meet on 12 May 2024 at house 7.", "Yours, hound 3.50"], 100, 100)
    found = read(Task.RECEIPT, paper)
    assert (found["subtotal"], found["tax"], found["total"], found["items"]) == (0, 0, 0, [])
    assert found["date"] == "2024-05-12"


@pytest.mark.parametrize("task", [Task.RECEIPT, Task.INVOICE, Task.FORM])
def test_an_empty_page_has_every_key(task: Task) -> None:
    found = read(task, Paper())
    assert found
    assert set(map(str, found.values())) <= {"", "0", "[]"}


# ---- invoices


def invoice() -> Paper:
    paper = Paper()
    paper.write("Harlow Joinery", 100, 60, em=40)
    paper.write("INVOICE", 700, 60, em=36)
    paper.write("Invoice No: HJ-2024/17", 700, 140)
    paper.write("Date", 700, 180)
    paper.write("March 3, 2024", 850, 180)
    paper.write("Due date:", 700, 220)
    paper.write("2024-04-02", 850, 220)
    paper.write("Bill to:", 100, 180)
    paper.write("Okafor Ltd", 100, 205)
    paper.write("7 Mill Lane", 100, 230)
    head = ["Description", "Qty", "Unit price", "Amount"]
    rows = [head, ["Oak shelf", "4", "85.00", "340.00"], ["Fitting", "3 h", "48.00", "144.00"]]
    paper.table(rows, (100, 450, 600, 800), 320)
    paper.write("with brackets", 100, 320 + 40 + 22)
    paper.write("Subtotal", 600, 480)
    paper.write("484.00", 800, 480)
    paper.write("VAT (20%)", 600, 520)
    paper.write("96.80", 800, 520)
    paper.write("Total due", 600, 560)
    paper.write("GBP 580.80", 800, 560)
    return paper


def test_an_invoice() -> None:
    assert read(Task.INVOICE, invoice()) == {
        "invoice_number": "HJ-2024/17",
        "date": "2024-03-03",
        "due_date": "2024-04-02",
        "vendor": "Harlow Joinery",
        "customer": "Okafor Ltd",
        "currency": "GBP",
        "subtotal": 484,
        "tax": 96.8,
        "total": 580.8,
        "line_items": [
            {
                "description": "Oak shelf with brackets",
                "quantity": 4,
                "unit_price": 85,
                "amount": 340,
            },
            {"description": "Fitting", "quantity": 3, "unit_price": 48, "amount": 144},
        ],
    }


def test_a_german_invoice() -> None:
    paper = Paper()
    paper.write("Tischlerei Fuchs GmbH", 100, 60, em=30)
    paper.write("Rechnungsnummer: 4711", 100, 140)
    paper.write("Rechnungsdatum: 15.03.2024", 100, 180)
    paper.write("Rechnungsempfänger: Anna Hund", 100, 220)
    head = ["Beschreibung", "Menge", "Einzelpreis", "Betrag"]
    paper.table([head, ["Regal", "2", "1.050,00 €", "2.100,00 €"]], (100, 400, 550, 750), 300)
    paper.write("Rechnungsbetrag", 550, 420)
    paper.write("2.100,00 €", 750, 420)
    found = read(Task.INVOICE, paper)
    assert (found["invoice_number"], found["date"]) == ("4711", "2024-03-15")
    assert (found["customer"], found["currency"]) == ("Anna Hund", "EUR")
    assert (found["total"], found["due_date"]) == (2100, "")
    assert found["line_items"] == [
        {"description": "Regal", "quantity": 2, "unit_price": 1050, "amount": 2100}
    ]


# ---- forms


def test_a_form() -> None:
    paper = Paper()
    paper.write("Membership", 100, 50, em=40)
    paper.write("Family name:", 100, 120)
    paper.write("Lindqvist", 300, 120)
    paper.write("Given name: Maja", 600, 120)
    paper.write("Street:", 100, 160)
    paper.write("____________", 300, 160)
    paper.write("Town:", 100, 200)
    paper.write("Malmberg", 100, 224)
    paper.write("Opens: 9:30", 600, 200)
    paper.write("☒ Family ☐ Single", 100, 280)
    paper.write("[x] Newsletter", 600, 280)
    pairs = [(each["label"], each["value"]) for each in read(Task.FORM, paper)["fields"]]
    assert pairs == [
        ("Family name", "Lindqvist"),
        ("Given name", "Maja"),
        ("Street", ""),
        ("Town", "Malmberg"),
        ("Opens", "9:30"),
        ("Family", "checked"),
        ("Single", "unchecked"),
        ("Newsletter", "checked"),
    ]


def test_labels_without_a_colon() -> None:
    paper = Paper()
    paper.table([["Name", "Jane"], ["Town", "London"]], (100, 400), 100)
    assert read(Task.FORM, paper)["fields"] == [
        {"label": "Name", "value": "Jane"},
        {"label": "Town", "value": "London"},
    ]
