"""Pages of figures: tables with and without rules, a receipt, an invoice, a form. Names, numbers
and places are invented."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from shared.ocr import Category
from tests.pages.fonts import Face
from tests.pages.paper import Line, Page, Sheet

STATIONS = (
    ("Station", "Opened", "Platforms", "Travellers"),
    ("Northgate", "1887", "6", "41,200"),
    ("Old Harbour", "1902", "4", "18,750"),
    ("Paper Mill", "1931", "2", "3,640"),
    ("University", "1976", "8", "57,300"),
    ("Airport South", "2009", "2", "22,480"),
)

APPLES = (
    ("Variety", "Harvest", "Weight", "Sugar"),
    ("Boskoop", "October", "210 g", "12.4"),
    ("Elstar", "September", "165 g", "13.1"),
    ("Gloster", "October", "190 g", "11.8"),
    ("Jonagold", "October", "225 g", "13.6"),
    ("Topaz", "September", "150 g", "12.9"),
    ("Wellant", "November", "200 g", "14.2"),
)

GOODS = (
    ("Rye bread", 1, 3.90),
    ("Goat cheese", 2, 9.80),
    ("Olive oil", 1, 8.45),
    ("Apricot jam", 3, 7.35),
)

WORK = (
    ("Oak shelf, 120 cm", 4, 85.00, 340.00),
    ("Wall bracket", 8, 6.50, 52.00),
    ("Fitting on site", 3, 48.00, 144.00),
    ("Delivery", 1, 35.00, 35.00),
)

SLIP = ("Cloakroom ticket", "Number 4718", "Keep until closing time")

FORM = (
    ("Family name", "Lindqvist"),
    ("Given name", "Maja"),
    ("Date of birth", "14 March 1991"),
    ("Street", "Kanalgatan 27"),
    ("Town", "Malmberg"),
    ("Telephone", "0470 55 31 08"),
    ("Membership", "Family"),
)


def ruled() -> Page:
    """A table with every line drawn, between two paragraphs."""
    sheet = Sheet()
    y = sheet.title("Stations of the northern line", (150, 130), Face.SANS_BOLD, 40, top=True)
    y = sheet.paragraph(
        "The figures are travellers on a working day, counted in the second week of May.",
        (150, y),
        940,
        Face.SANS,
        25,
    )
    bottom = table(sheet, STATIONS, y + 20, (150, 450, 620, 830, 1090), rules=True)
    sheet.paragraph(
        "Paper Mill is served by every second train only.", (150, bottom + 40), 940, Face.SANS, 25
    )
    return sheet.page("ruled")


def unruled() -> Page:
    """A table held together by white space alone, between two paragraphs."""
    sheet = Sheet()
    y = sheet.title("Apples of the trial orchard", (150, 130), Face.SANS_BOLD, 40, top=True)
    y = sheet.paragraph(
        "Six varieties were picked by hand and weighed on the same evening.",
        (150, y),
        940,
        Face.SANS,
        25,
    )
    bottom = table(sheet, APPLES, y + 20, (150, 440, 700, 900, 1090), rules=False)
    sheet.paragraph(
        "Sugar is given in percent of the juice.", (150, bottom + 40), 940, Face.SANS, 25
    )
    return sheet.page("unruled")


def table(
    sheet: Sheet, rows: Sequence[Sequence[str]], top: int, edges: Sequence[int], *, rules: bool
) -> int:
    """Rows of left-aligned cells between the given edges; answers where the table ends."""
    height, size = 54, 25
    lines: list[Line] = []
    for number, row in enumerate(rows):
        face = Face.SANS if number else Face.SANS_BOLD
        y = top + number * height + 13
        lines.extend(
            sheet.line(cell, (left + 16, y), face, size)
            for (left, _), cell in zip(pairwise(edges), row, strict=True)
        )
    bottom = top + len(rows) * height
    if rules:
        for number in range(len(rows) + 1):
            sheet.rule((edges[0], top + number * height), (edges[-1], top + number * height))
        for edge in edges:
            sheet.rule((edge, top), (edge, bottom))
    sheet.add(Category.TABLE, *lines)
    sheet.tables.append(tuple(tuple(row) for row in rows))
    return bottom


def slip() -> Page:
    """Three lines on a scrap of paper: the least a page can hold, for tests under load."""
    sheet = Sheet((520, 220))
    for number, text in enumerate(SLIP):
        sheet.add(Category.TEXT, sheet.line(text, (40, 40 + number * 50), Face.MONO, 26))
    return sheet.page("slip")


def receipt() -> Page:
    """A narrow slip: shop, date, four goods, subtotal, tax, total."""
    sheet = Sheet((620, 1000))
    face, bold, size, left, right = Face.MONO, Face.MONO_BOLD, 24, 50, 570
    sheet.add(Category.TITLE, sheet.line("GREEN CORNER SHOP", (130, 50), bold, 34))
    sheet.add(Category.TEXT, sheet.line("8 Orchard Street, Linden", (130, 110), face, size))
    sheet.add(Category.TEXT, sheet.line("Date: 2024-03-18  17:42", (left, 180), face, size))
    y, lines = (
        250,
        [
            sheet.line("Item", (left, 250), bold, size),
            sheet.right("Qty", 400, 250, bold, size),
            sheet.right("Price", right, 250, bold, size),
        ],
    )
    for name, qty, price in GOODS:
        y += 48
        lines.append(sheet.line(name, (left, y), face, size))
        lines.append(sheet.right(str(qty), 400, y, face, size))
        lines.append(sheet.right(f"{price:.2f}", right, y, face, size))
    sheet.add(Category.TABLE, *lines)
    y += 80
    sheet.rule((left, y - 14), (right, y - 14))
    for label, amount, weight in (
        ("Subtotal", "29.50", face),
        ("Tax 7%", "2.07", face),
        ("TOTAL EUR", "31.57", bold),
    ):
        ends = (
            sheet.line(label, (left, y), weight, size),
            sheet.right(amount, right, y, weight, size),
        )
        sheet.add(Category.TEXT, *ends)
        y += 48
    sheet.add(Category.TEXT, sheet.line("Thank you for your visit", (130, y + 40), face, size))
    return sheet.page("receipt", receipt_fields())


def receipt_fields() -> dict[str, object]:
    return {
        "merchant": "GREEN CORNER SHOP",
        "date": "2024-03-18",
        "currency": "EUR",
        "subtotal": 29.5,
        "tax": 2.07,
        "total": 31.57,
        "items": [{"name": name, "qty": qty, "price": price} for name, qty, price in GOODS],
    }


def invoice() -> Page:
    """Vendor, customer, number, two dates, a ruled table of four items, three sums."""
    sheet = Sheet()
    face, bold, size = Face.SANS, Face.SANS_BOLD, 25
    sheet.title("Harlow & Finch Joinery", (120, 110), bold, 40, top=True)
    sheet.add(Category.TEXT, sheet.line("14 Mill Lane, Ashby", (120, 175), face, size))
    sheet.title("INVOICE", (120, 260), bold, 36)
    y = 340
    for label, value in (
        ("Invoice number:", "HF-2024-0317"),
        ("Invoice date:", "2024-06-21"),
        ("Due date:", "2024-07-21"),
    ):
        sheet.add(
            Category.TEXT,
            sheet.line(label, (120, y), bold, size),
            sheet.line(value, (370, y), face, size),
        )
        y += 46
    sheet.add(
        Category.TEXT,
        sheet.line("Bill to:", (120, y + 34), bold, size),
        sheet.line("Okafor Reading Rooms Ltd", (370, y + 34), face, size),
    )
    rows = [("Description", "Quantity", "Unit price", "Amount")]
    rows += [(text, str(n), f"{unit:.2f}", f"{amount:.2f}") for text, n, unit, amount in WORK]
    bottom = table(sheet, rows, y + 120, (120, 560, 740, 930, 1120), rules=True)
    y = bottom + 40
    for label, value in (
        ("Subtotal", "571.00"),
        ("Tax (20%)", "114.20"),
        ("Total USD", "685.20"),
    ):
        ends = sheet.line(label, (756, y), bold, size), sheet.line(value, (946, y), face, size)
        sheet.add(Category.TEXT, *ends)
        y += 46
    return sheet.page("invoice", invoice_fields())


def invoice_fields() -> dict[str, object]:
    return {
        "invoice_number": "HF-2024-0317",
        "date": "2024-06-21",
        "due_date": "2024-07-21",
        "vendor": "Harlow & Finch Joinery",
        "customer": "Okafor Reading Rooms Ltd",
        "currency": "USD",
        "subtotal": 571,
        "tax": 114.2,
        "total": 685.2,
        "line_items": [
            {"description": text, "quantity": n, "unit_price": unit, "amount": amount}
            for text, n, unit, amount in WORK
        ],
    }


def form() -> Page:
    """Labels with a colon, values above a thin rule."""
    sheet = Sheet()
    sheet.title("Membership of the rowing club", (150, 130), Face.SANS_BOLD, 40, top=True)
    y = 260
    for label, value in FORM:
        sheet.add(
            Category.TEXT,
            sheet.line(f"{label}:", (150, y), Face.SANS_BOLD, 26),
            sheet.line(value, (470, y), Face.SANS, 26),
        )
        sheet.rule((460, y + 40), (1090, y + 40), width=1)
        y += 74
    fields = {"fields": [{"label": label, "value": value} for label, value in FORM]}
    return sheet.page("form", fields)
