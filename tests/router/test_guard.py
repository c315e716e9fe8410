"""The runaway guard: what it stops, what it must let pass, where, and at what cost."""

from __future__ import annotations

import math
import random
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.guard import STEP_CHARS, Guard, GuardSettings, Repetition, letters_of

DEFAULTS = GuardSettings()

PROSE = (
    "The clerk opened the ledger at the page for March and found the column of receipts short by "
    "four shillings. He counted the coins again, slowly, then the notes, and wrote the difference "
    "in pencil. Nobody had been in the office since noon except the boy with the post. "
)


def drawn(seed: int) -> random.Random:
    return random.Random(seed)


def prose(chars: int, seed: int = 1) -> str:
    words = PROSE.split()
    dice = drawn(seed)
    text = ""
    while len(text) < chars:
        text += " ".join(dice.choices(words, k=9)) + ".\n"
    return text[:chars]


def pi_digits(count: int) -> str:
    """A page of digits: the decimals of pi, sixty to a line."""
    k, a, b, a1, b1, out = 2, 4, 1, 12, 4, ""
    while len(out) < count:
        p, q, k = k * k, 2 * k + 1, k + 1
        a, b, a1, b1 = a1, b1, p * a + q * a1, p * b + q * b1
        while a // b == a1 // b1 and len(out) < count:
            out += str(a // b)
            a, a1 = 10 * (a % b), 10 * (a1 % b1)
    return "\n".join(out[at : at + 60] for at in range(0, count, 60))


def markdown_table(rows: int, cells: list[str], columns: int) -> str:
    dice = drawn(2)
    head = "| No. |" + " Column |" * columns + "\n|" + " --- |" * (columns + 1) + "\n"
    lines = (
        f"| {row} |" + "".join(f" {dice.choice(cells)} |" for _ in range(columns))
        for row in range(1, rows + 1)
    )
    return head + "\n".join(lines)


def html_row(cells: list[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def table_of_contents() -> str:
    dice = drawn(3)
    page, lines = 1, []
    for chapter in range(1, 120):
        title = f"{chapter}. {' '.join(dice.choices(PROSE.split(), k=3))} "
        lines.append(title.ljust(90, ".") + f" {page}")
        page += dice.randrange(1, 4)
    return "\n".join(lines)


def poem() -> str:
    refrain = (
        "O hush thee, my baby, thy sire was a knight,\nThy mother a lady, both lovely and bright.\n"
    )
    return "\n".join(prose(120, seed) + "\n" + refrain for seed in range(30))


def layout(count: int) -> str:
    items = (
        {"bbox": [90, 40 * at, 900, 40 * at + 30], "category": "Text", "text": ""}
        for at in range(count)
    )
    return msgspec.json.encode(list(items)).decode()


HONEST = {
    "prose": prose(20_000),
    "300 rows of zeros, numbered": markdown_table(300, ["0"], 8),
    "300 rows of dashes, numbered": markdown_table(300, ["-"], 8),
    "300 rows of N/A, numbered": markdown_table(300, ["N/A"], 6),
    "300 rows of checkmarks and blanks": markdown_table(300, ["✓", "", "✓", "✓"], 7),
    "300 rows, all cells empty, numbered": markdown_table(300, [""], 10),
    "300 rows of zeros in HTML, numbered": "".join(
        html_row([str(row), *["0"] * 8]) for row in range(300)
    ),
    "150 equal rows of zeros in HTML": "<table>" + html_row(["0"] * 4) * 150 + "</table>",
    "60 equal rows of N/A": "| N/A | N/A | N/A | N/A |\n" * 60,
    "40 rows of 40 zeros": ("0 " * 40 + "\n") * 40,
    "800 empty cells in one row": "<table><tr>" + "<td></td>" * 800 + "</tr></table>",
    "800 empty cells in rows of 20": "<table>" + html_row([""] * 20) * 40 + "</table>",
    "300 cells with spans": '<td rowspan="1" colspan="1"></td>' * 300,
    "a column of 300 Yes": "Yes\n" * 300,
    "a column of 300 zeros": "0\n" * 300,
    "a column of 300 N/A in HTML": "<tr><td>N/A</td></tr>" * 300,
    "a column of 300 dittos in Chinese": "同上\n" * 300,
    "300 boxes to tick": "☐ " * 300,
    "no, 200 times": "no, " * 200,
    "a table of contents": table_of_contents(),
    "a form of 40 long lines": "\n".join(["_" * 120] * 40),
    "a form with names before its lines": ("Name: " + "_" * 60 + " Date: " + "_" * 20 + "\n") * 40,
    "a sign-in sheet": "| Name | Company | Signature | Time |\n" + "|  |  |  |  |\n" * 60,
    "one very long leader": "Total " + "." * 700 + " 12",
    "spaced dots over a page": (". " * 60 + "\n") * 20,
    "digits of pi": pi_digits(6000),
    "a page of random digits": "\n".join(
        " ".join(f"{drawn(row).randrange(10**8):08}" for _ in range(8)) for row in range(300)
    ),
    "a poem with a refrain": poem(),
    "a CSV with constant columns": "\n".join(
        f"2024-03-{day:02}T{hour:02}:00,station 7,ok,0,0,0,N/A"
        for day in range(1, 29)
        for hour in range(24)
    ),
    "counted lines": "\n".join(f"Item {number}: see the enclosed list" for number in range(600)),
    "a sheet of 30 address labels": "Miriam Oldacre\n14 Cutlers Lane\nSheffield S1 2GU\n\n" * 30,
    "an invoice in triplicate": prose(1500) * 3,
    "eight coupons": "Bring this coupon and save 10% on one coffee of your choice.\n" * 8,
    "a layout of empty texts": layout(300),
    "a long column of LaTeX": "\n".join(rf"x_{{{n}}} &= {n * n} \\" for n in range(400)),
    "200 empty lines": prose(500) + "\n" * 200 + prose(500),
    "a table of one character a cell": "\n".join(
        "|".join(format(drawn(row).randrange(4096), "012b")) for row in range(400)
    ),
}

RUNAWAY = {
    "a line": ("The same line again and again.\n", 84),
    "a word": ("the ", 700),
    "a word without spaces": ("ha", 1000),
    "a sentence": ("He counted the coins again, slowly, then the notes. ", 60),
    "a paragraph": (PROSE + "\n", 11),
    "a page": (prose(1500), 10),
    "a Markdown row with words": ("| Total | 12.00 | EUR | net of taxes |\n", 90),
    "a Markdown row of N/A": ("| N/A | N/A | N/A |\n", 350),
    "an HTML row": (html_row(["Total", "12.00", "EUR"]), 170),
    "empty cells": ("<td></td>", 1050),
    "empty rows": (html_row([""] * 20), 66),
    "dots": (".", 1100),
    "underscores": ("_", 1100),
    "spaced dots": (". ", 1050),
    "lines of underscores": ("_" * 100 + "\n", 125),
    "empty lines": ("\n", 1100),
    "one letter": ("a", 1100),
    "zeros": ("0", 1100),
    "columns of dashes": ("| --- ", 1050),
    "a cycle of three lines": (
        "Name: ______\nDate: ______\nPlease print in capital letters.\n",
        60,
    ),
    "a cycle of six lines": ("\n".join(prose(300, seed) for seed in (4, 5)) + "\n", 12),
    "JSON objects": ('{"bbox":[12,40,300,60],"category":"Text","text":""},', 110),
    "deepseek's marks": ("<|ref|>text<|/ref|><|det|>[[10, 20, 300, 400]]<|/det|>\n", 145),
    "LaTeX": (r"\quad ", 510),
    "entities": ("&nbsp;", 1050),
    "Chinese": ("这一行总是重复出现。\n", 120),
    "emoji": ("✅", 1100),
}


def run(
    text: str, size: int = 50, given: GuardSettings = DEFAULTS
) -> tuple[Repetition | None, int]:
    """The verdict, and how many characters had been fed when it came."""
    guard = Guard(given)
    for at in range(0, len(text), size):
        if guard.feed(text[at : at + size]):
            return guard.where, min(at + size, len(text))
    return None, len(text)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_text_passes(name: str):
    assert len(HONEST[name]) > 300
    assert run(HONEST[name]) == (None, len(HONEST[name]))
    # Nor does what stands before and after it make a runaway of it.
    around = prose(3000, 7) + HONEST[name] + prose(3000, 8)
    assert run(around) == (None, len(around))


@pytest.mark.parametrize("name", RUNAWAY)
def test_a_runaway_is_stopped_and_named(name: str):
    unit, repeats = RUNAWAY[name]
    text = prose(1000, 9) + "\n" + unit * (repeats + math.ceil(STEP_CHARS / len(unit)) + 1)
    where, _ = run(text)
    assert where is not None
    assert where.unit * 2 in unit * 4
    assert where.repeats <= repeats + STEP_CHARS
    assert where.end_chars <= len(text)


@pytest.mark.parametrize("name", RUNAWAY)
def test_half_as_many_copies_pass(name: str):
    """What the runaway samples show is a bound, not any repetition."""
    unit, repeats = RUNAWAY[name]
    assert run(prose(1000, 9) + "\n" + unit * (repeats // 2) + prose(300, 3))[0] is None


@pytest.mark.parametrize("name", RUNAWAY)
def test_the_verdict_falls_at_the_same_place_however_the_text_is_cut(name: str):
    unit, repeats = RUNAWAY[name]
    text = prose(333, 9) + "\n" + unit * (repeats + 300)
    whole = Guard(DEFAULTS)
    assert whole.feed(text)
    assert whole.where is not None
    for size in (1, 2, 3, 7, 127, 128, 129, 1000):
        where, fed = run(text, size)
        assert where == whole.where
        assert where.end_chars <= fed < where.end_chars + size


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    lead=st.integers(0, 700),
    name=st.sampled_from(sorted(RUNAWAY)),
)
@settings(max_examples=60, deadline=None)
def test_random_cuts_change_nothing(sizes: list[int], lead: int, name: str):
    unit, repeats = RUNAWAY[name]
    text = prose(lead, 9) + unit * (repeats + 300)
    whole, cut = Guard(DEFAULTS), Guard(DEFAULTS)
    whole.feed(text)
    at = turn = 0
    sizes = [*sizes, 1]
    while at < len(text) and not cut.feed(text[at : at + sizes[turn % len(sizes)]]):
        at += sizes[turn % len(sizes)]
        turn += 1
    assert cut.where == whole.where is not None


@given(unit=st.text(min_size=1, max_size=60), lead=st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_whatever_is_repeated_without_end_is_a_runaway(unit: str, lead: str):
    endless = unit * (13_000 // len(unit) + STEP_CHARS)
    guard = Guard(DEFAULTS)
    assert guard.feed(lead + endless)
    assert guard.where is not None
    assert guard.where.repeats * len(guard.where.unit) <= 13_000 + 2 * STEP_CHARS


@given(st.text(alphabet="ab<>\n ", max_size=4000))
@settings(max_examples=100, deadline=None)
def test_the_repetition_named_is_in_the_text(text: str):
    """With bounds so low that chance alone reaches them."""
    low = GuardSettings(repeats_min=2, letters_min=20, repeats_max=30, chars_max=60)
    guard = Guard(low)
    if guard.feed(text + "ab" * 200):
        assert guard.where is not None
        fed = (text + "ab" * 200)[: guard.where.end_chars]
        copies = guard.where.unit * guard.where.repeats
        turned = [copies[at:] + copies[:at] for at in range(len(guard.where.unit))]
        assert any(fed.endswith(one) for one in turned)


def test_after_its_verdict_a_guard_stays_with_it():
    guard = Guard(DEFAULTS)
    assert guard.feed("." * 2000)
    before = guard.where
    assert guard.feed(PROSE)
    assert guard.where == before
    assert str(before) == "'.' at least 1024 times in a row"


def test_a_guard_that_is_off_lets_all_pass():
    guard = Guard(GuardSettings(enabled=False))
    assert not guard.feed("." * 100_000)
    assert guard.where is None


def test_a_unit_is_named_as_a_reader_would_begin_it():
    cell = run(prose(1003) + "<td></td>" * 2000)[0]
    row = run(prose(1001) + html_row(["Total", "12.00"]) * 300)[0]
    line = run(prose(1002) + "first\nsecond line\n" * 300)[0]
    assert cell is not None
    assert row is not None
    assert line is not None
    assert cell.unit == "<td></td>"
    assert sorted(row.unit) == sorted(html_row(["Total", "12.00"]))
    assert line.unit in {"first\nsecond line\n", "second line\nfirst\n"}


def test_thresholds_are_settings():
    strict = GuardSettings(repeats_min=3, letters_min=200)
    assert run("Please sign here and return.\n" * 20, given=strict)[0] is not None
    assert run("Please sign here and return.\n" * 20)[0] is None


def test_a_window_too_small_for_its_own_bound_is_refused():
    with pytest.raises(ValueError, match="window_chars 2000 is less than chars_max 12000"):
        GuardSettings(window_chars=2000)
    with pytest.raises(msgspec.ValidationError, match="window_chars 2000"):
        msgspec.convert({"window_chars": 2000}, GuardSettings)


def test_letters_leave_markup_out_and_count_wide_ones_twice():
    assert letters_of('<td class="x">N/A</td>&nbsp;12') == 4
    assert letters_of("同上 -") == 4


@pytest.mark.parametrize("name", ["prose", "800 empty cells in one row", "a layout of empty texts"])
def test_a_kilobyte_costs_well_under_a_millisecond(name: str):
    text = (prose(100_000) if name == "prose" else HONEST[name] * 20)[:100_000]
    generous = GuardSettings(repeats_min=10_000)  # so that it looks to the end
    best = math.inf
    guard = Guard(generous)
    for _ in range(3):
        guard = Guard(generous)
        began = time.process_time()
        for at in range(0, len(text), 4):
            guard.feed(text[at : at + 4])
        best = min(best, time.process_time() - began)
    assert guard.where is None
    assert best * 1000 / (len(text) / 1000) < 1  # measured: 0.1 to 0.3
