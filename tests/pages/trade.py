"""Receipts and invoices as other countries print them: dates, decimal commas, signs before and
after the amount, quantities in front of the name. Shops, people and sums are invented."""

from __future__ import annotations

from collections.abc import Sequence

from shared.ocr import Category
from tests.pages.fonts import Face
from tests.pages.paper import Page, Sheet

Row = tuple[str, str]

CAFE: Sequence[Row] = (
    ("2 x Flat white", "$9.00"),
    ("1 x Almond croissant", "$4.25"),
    ("1 x Orange juice", "$5.50"),
)
CAFE_SUMS: Sequence[Row] = (
    ("Subtotal", "$18.75"),
    ("Sales tax (8%)", "$1.50"),
    ("Total", "$20.25"),
    ("Cash", "$25.00"),
    ("Change", "$4.75"),
)

BAKERY: Sequence[Row] = (("Roggenbrot", "4,20 €"), ("Apfelkuchen", "12,50 €"), ("Kaffee", "2,80 €"))
BAKERY_SUMS: Sequence[Row] = (
    ("Zwischensumme", "19,50 €"),
    ("MwSt. 7%", "1,37 €"),
    ("Gesamt", "20,87 €"),
)

PRINTS = (
    ("Item", "Qty", "Price", "Total"),
    ("Exhibition leaflets, folded A4", "2,000", "£0.12", "£240.00"),
    ("Poster A1, matt", "25", "£7.60", "£190.00"),
    ("Design work (hours)", "4.5", "£40.00", "£180.00"),
)


def receipt_us() -> Page:
    """Month first, dollar signs, quantities in front, cash and change below the total."""
    head = ("Blue Heron Cafe", "221 Lake Road", "Tel 555-0142", "03/14/2024 08:15 AM")
    fields = {
        "merchant": "Blue Heron Cafe",
        "date": "2024-03-14",
        "currency": "USD",
        "subtotal": 18.75,
        "tax": 1.5,
        "total": 20.25,
        "items": [
            {"name": "Flat white", "qty": 2, "price": 9},
            {"name": "Almond croissant", "qty": 1, "price": 4.25},
            {"name": "Orange juice", "qty": 1, "price": 5.5},
        ],
    }
    return till("receipt_us", head, (CAFE, CAFE_SUMS), fields)


def receipt_de() -> Page:
    """Day first, decimal commas, the sign after the amount, no column of quantities."""
    head = ("Bäckerei Sonnenschein", "Lindenweg 5, 12345 Neustadt", "Datum: 24.12.2023")
    fields = {
        "merchant": "Bäckerei Sonnenschein",
        "date": "2023-12-24",
        "currency": "EUR",
        "subtotal": 19.5,
        "tax": 1.37,
        "total": 20.87,
        "items": [
            {"name": "Roggenbrot", "qty": 1, "price": 4.2},
            {"name": "Apfelkuchen", "qty": 1, "price": 12.5},
            {"name": "Kaffee", "qty": 1, "price": 2.8},
        ],
    }
    return till("receipt_de", head, (BAKERY, BAKERY_SUMS), fields)


def till(
    name: str, head: Sequence[str], parts: Sequence[Sequence[Row]], fields: dict[str, object]
) -> Page:
    """A slip of a till: the shop in bold, then lines, then names left and amounts right."""
    sheet = Sheet((600, 900))
    sheet.add(Category.TITLE, sheet.line(head[0], (40, 50), Face.MONO_BOLD, 30))
    y = 100
    for text in head[1:]:
        sheet.add(Category.TEXT, sheet.line(text, (40, y), Face.MONO, 22))
        y += 40
    for part in parts:
        y += 20
        for left, right in part:
            ends = (
                sheet.line(left, (40, y), Face.MONO, 22),
                sheet.right(right, 560, y, Face.MONO, 22),
            )
            sheet.add(Category.TEXT, *ends)
            y += 40
    return sheet.page(name, fields)


def invoice_uk() -> Page:
    """Pounds, dates in words, the facts at the right of the address, a total named amount due."""
    sheet = Sheet()
    face, bold, size = Face.SANS, Face.SANS_BOLD, 22
    sheet.add(Category.TEXT, sheet.line("Pennine Print Works Ltd", (120, 100), bold, 34))
    sheet.add(Category.TEXT, sheet.line("Unit 7, Canal Wharf", (120, 150), face, size))
    sheet.add(Category.TITLE, sheet.right("Invoice", 1120, 100, bold, 44))
    y = 170
    for label, value in (
        ("Invoice No.", "PPW-0098"),
        ("Date", "3 March 2024"),
        ("Payment due", "2 April 2024"),
    ):
        ends = sheet.line(label, (720, y), bold, size), sheet.right(value, 1120, y, face, size)
        sheet.add(Category.TEXT, *ends)
        y += 40
    sheet.add(Category.TEXT, sheet.line("Invoice to", (120, 330), bold, size))
    sheet.add(Category.TEXT, sheet.line("Calder Valley Museum", (120, 366), face, size))
    sheet.add(Category.TEXT, sheet.line("1 Market Street, Todmorden", (120, 402), face, size))
    y, lines = 500, []
    for number, row in enumerate(PRINTS):
        weight = face if number else bold
        lines.append(sheet.line(row[0], (120, y), weight, size))
        for x, cell in zip((700, 900, 1120), row[1:], strict=True):
            lines.append(sheet.right(cell, x, y, weight, size))
        y += 48
    sheet.rule((120, 540), (1120, 540))
    sheet.add(Category.TABLE, *lines)
    y += 20
    for label, value in (
        ("Subtotal", "£610.00"),
        ("VAT @ 20%", "£122.00"),
        ("Amount due", "£732.00"),
    ):
        ends = sheet.line(label, (760, y), bold, size), sheet.right(value, 1120, y, face, size)
        sheet.add(Category.TEXT, *ends)
        y += 42
    thanks = "Please pay by bank transfer within thirty days. Thank you for your business."
    sheet.paragraph(thanks, (120, y + 60), 900, face, size)
    return sheet.page("invoice_uk", invoice_uk_fields())


def invoice_uk_fields() -> dict[str, object]:
    items = (
        ("Exhibition leaflets, folded A4", 2000, 0.12, 240),
        ("Poster A1, matt", 25, 7.6, 190),
        ("Design work (hours)", 4.5, 40, 180),
    )
    return {
        "invoice_number": "PPW-0098",
        "date": "2024-03-03",
        "due_date": "2024-04-02",
        "vendor": "Pennine Print Works Ltd",
        "customer": "Calder Valley Museum",
        "currency": "GBP",
        "subtotal": 610,
        "tax": 122,
        "total": 732,
        "line_items": [
            {"description": text, "quantity": number, "unit_price": unit, "amount": amount}
            for text, number, unit, amount in items
        ],
    }
