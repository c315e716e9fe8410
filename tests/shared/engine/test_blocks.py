"""One block's text: joined lines, hyphens, headings, lists, plain lines."""

from __future__ import annotations

import pytest

from shared.engine.embedded.blocks import is_told, make_block, telling
from shared.engine.embedded.lines import Rulings
from shared.engine.embedded.words import join, join_lines
from shared.ocr import Category
from tests.shared.engine.handwritten import Paper, plan

NONE = Rulings()


def text_of(texts: list[str], *, category: Category = Category.TEXT, **how: float) -> str:
    paper = Paper()
    paper.column(texts, 100, 100, **how)
    return make_block(plan(category, paper.lines), paper.lines, NONE).text


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("environ-", "mental harm", "environmental harm"),
        ("non-", "governmental", "non-governmental"),
        ("the well-", "known fox", "the well-known fox"),
        ("state-of-the-", "art", "state-of-the-art"),
        ("the Anglo-", "Saxon king", "the Anglo-Saxon king"),
        ("UTF-", "8 text", "UTF-8 text"),
        ("CO-", "operation", "CO-operation"),
        ("soft\u00ad", "ware", "software"),
        ("pages 4 -", "7", "pages 4 - 7"),
        ("two", "words", "two words"),
        ("图书馆", "使用须知", "图书馆使用须知"),
        ("도서관 이용", "안내", "도서관 이용 안내"),
        ("", "alone", "alone"),
    ],
)
def test_lines_join(before: str, after: str, joined: str) -> None:
    assert join(before, after) == joined


def test_join_lines_of_nothing() -> None:
    assert join_lines([]) == ""


def test_a_paragraph_is_one_line_of_markdown() -> None:
    lines = [
        "The quick brown fox jumps over the lazy",
        "dog and runs into the wood where no-",
        "body",
    ]
    assert (
        text_of(lines)
        == "The quick brown fox jumps over the lazy dog and runs into the wood where nobody"
    )


def test_a_line_that_ends_early_ends_a_paragraph() -> None:
    lines = [
        "The quick brown fox jumps over the lazy dog and the cat",
        "and goes home.",
        "Another day he meets the dog again and they talk about",
        "the weather for a while as foxes and dogs are used to do",
    ]
    assert text_of(lines).split("\n\n") == [" ".join(lines[:2]), " ".join(lines[2:])]


def test_an_address_keeps_its_lines() -> None:
    lines = ["Jane Fox", "The Old Earth 7", "London"]
    assert text_of(lines) == "Jane Fox\nThe Old Earth 7\nLondon"


@pytest.mark.parametrize(
    ("category", "text"),
    [
        (Category.TITLE, "# Of foxes and hounds"),
        (Category.SECTION_HEADER, "## Of foxes and hounds"),
    ],
)
def test_headings(category: Category, text: str) -> None:
    assert text_of(["Of foxes", "and hounds"], category=category) == text


def test_a_long_heading_is_a_paragraph() -> None:
    paper = Paper()
    paper.column(["the quick brown fox jumps over the dog"] * 8, 100, 100)
    block = make_block(plan(Category.SECTION_HEADER, paper.lines), paper.lines, NONE)
    assert block.category is Category.TEXT
    assert not block.text.startswith("#")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["• milk", "• bread and", "butter"], "- milk\n- bread and butter"),
        (["- milk", "- bread"], "- milk\n- bread"),
        (["•milk"], "- milk"),
        (["1. milk", "2. bread"], "1. milk\n2. bread"),
        (["1) milk", "2) bread"], "1) milk\n2) bread"),
        (["a) milk", "b) bread"], "- a) milk\n- b) bread"),
        (["1 Fox J. On hens.", "2 Hound P. On foxes."], "1 Fox J. On hens.\n2 Hound P. On foxes."),
    ],
)
def test_lists(lines: list[str], text: str) -> None:
    paper = Paper()
    paper.column(lines, 100, 100)
    block = make_block(plan(Category.TEXT, paper.lines), paper.lines, NONE)
    assert (block.category, block.text) == (Category.LIST_ITEM, text)


@pytest.mark.parametrize("lines", [["- he said that"], ["1. milk"], ["7 foxes", "3 Hounds"]])
def test_one_dash_or_number_makes_no_list(lines: list[str]) -> None:
    paper = Paper()
    paper.column(lines, 100, 100)
    assert make_block(plan(Category.TEXT, paper.lines), paper.lines, NONE).category is Category.TEXT


def test_a_list_after_its_introduction() -> None:
    assert text_of(["What to buy today:", "• milk", "• bread"]) == (
        "What to buy today:\n\n- milk\n- bread"
    )


def test_plain_text_keeps_printed_lines_and_marks() -> None:
    paper = Paper()
    paper.write("• milk and", 100, 100)
    paper.write("honey", 220, 102)
    paper.write("no-", 100, 120)
    paper.write("body", 100, 140)
    block = make_block(plan(Category.TITLE, paper.lines), paper.lines, NONE, plain=True)
    assert block.text == "• milk and honey\nno-\nbody"


def test_a_large_initial_joins_its_word() -> None:
    paper = Paper()
    paper.write("O", 100, 100, em=44, width=40)
    paper.write("nce upon a time", 150, 100)
    paper.write("there was a fox", 150, 122)
    text = make_block(plan(Category.TEXT, paper.lines), paper.lines, NONE).text
    assert text.split() == ["Once", "upon", "a", "time", "there", "was", "a", "fox"]


def test_a_picture_has_no_text_and_unread_lines_none() -> None:
    assert make_block(plan(Category.PICTURE, []), [], NONE).text == ""
    paper = Paper()
    paper.write("   ", 100, 100)
    assert make_block(plan(Category.TITLE, paper.lines), paper.lines, NONE).text == ""


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("17", Category.PAGE_FOOTER),
        ("- 4 -", Category.PAGE_FOOTER),
        ("xii", Category.PAGE_FOOTER),
        ("Yes!", Category.TEXT),
    ],
)
def test_a_short_line_at_the_edge_is_a_page_number_or_text(text: str, category: Category) -> None:
    paper = Paper()
    paper.write(text, 100, 100)
    assert (
        make_block(plan(Category.PAGE_FOOTER, paper.lines), paper.lines, NONE).category is category
    )


def test_boxes_are_whole_pixels_around_the_block() -> None:
    paper = Paper()
    paper.write("fox", 100.4, 99.6, width=30.2)
    assert make_block(plan(Category.TEXT, paper.lines), paper.lines, NONE).box == (
        100,
        99,
        131,
        120,
    )


# ---- tables that are none


def loose(rows: list[list[str]], xs: tuple[float, ...]) -> tuple[Category, str]:
    paper = Paper()
    paper.table(rows, xs, 100)
    block = make_block(plan(Category.TABLE, paper.lines, loose=True), paper.lines, NONE)
    return block.category, block.text


def test_labels_with_a_colon_are_lines() -> None:
    rows = [["Name:", "Jane"], ["Town:", "London"], ["Trade:", "Fox"]]
    assert loose(rows, (100, 400)) == (Category.TEXT, "Name: Jane\nTown: London\nTrade: Fox")


def test_two_addresses_are_read_one_after_the_other() -> None:
    rows = [["Jane Fox", "John Hound"], ["Old Earth", "The Kennel"], ["London", "Dover"]]
    assert loose(rows, (100, 400)) == (
        Category.TEXT,
        "Jane Fox\nOld Earth\nLondon\n\nJohn Hound\nThe Kennel\nDover",
    )


def test_a_column_of_numbers_makes_a_table() -> None:
    rows = [["Coffee", "3.50"], ["Tea", "2.00"], ["Cake", "4.20"]]
    category, text = loose(rows, (100, 400))
    assert category is Category.TABLE
    assert text.splitlines()[0] == "| Coffee | 3.50 |"


# ---- what must be read for the category alone


@pytest.mark.parametrize(
    ("category", "loose", "needed"),
    [
        (Category.TEXT, False, 1),
        (Category.TABLE, False, 0),
        (Category.TABLE, True, 3),
        (Category.PAGE_HEADER, False, 3),
        (Category.SECTION_HEADER, False, 3),
        (Category.CAPTION, False, 0),
    ],
)
def test_few_lines_tell_what_a_block_is(category: Category, loose: bool, needed: int) -> None:
    paper = Paper()
    paper.column(["one line", "another line", "a third one"], 80, 100)
    assert len(telling(plan(category, paper.lines, loose=loose))) == needed


@pytest.mark.parametrize(
    ("text", "told"),
    [("A sentence", True), ("• an item", False), ("1. an item", False), ("", False)],
)
def test_a_first_line_that_may_begin_a_list_tells_too_little(text: str, told: bool) -> None:
    paper = Paper()
    paper.column([text, "another line"], 80, 100, width=200)
    assert is_told(plan(Category.TEXT, paper.lines), paper.lines[:1]) is told
