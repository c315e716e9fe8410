"""The embedded engine on the repository's own pages: characters, order, headings, lists, tables,
fields, boxes, turned pages. The bounds are the project's promises; no page has its own."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest

from shared.ocr import Category, Result, Task
from tests.pages import DRAWN, Page
from tests.pages.grids import SPANNED_HTML, VISITORS
from tests.pages.journal import HEADS, RULES
from tests.pages.paper import turn
from tests.reading.conftest import Read, drawn
from tests.reading.measure import (
    around,
    character_error,
    covered,
    differences,
    flat,
    html_tables,
    in_order,
    markdown_parts,
    markdown_tables,
    overlap,
    shared_area,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.slow,
    pytest.mark.timeout(120),
]

ERROR_MAX = 0.01
"""Character errors on a clean page."""
PHOTOGRAPH_ERROR_MAX = 0.03
"""On a page that leans, is soft, grainy and unevenly lit."""
COVERED_MIN = 0.8
"""Share of a line's ink box that its block must hold: detectors cut a little off tall letters."""
TABLE_OVERLAP_MIN = 0.7
"""Intersection over union of a table's box with the box of its cells."""
TURNED_OVERLAP_MIN = 0.7
"""The same of a block on a turned page with the block of the upright one."""

TURNED = {"letter_90": 90, "letter_180": 180, "letter_270": 270}
SIDE_BY_SIDE = {"invoice_uk", "wrapped"}
"""What stands side by side on them has no one order in plain text."""
CLEAN = [name for name in DRAWN if name not in {"blank", "photograph", *SIDE_BY_SIDE}]
RUNNING = ("letter", "columns", "small", "korean", "russian", "chinese", "mixed")
TABLES = ("ruled", "unruled", "wrapped")


@pytest.mark.parametrize("name", CLEAN)
async def test_text_has_at_most_one_percent_errors(read: Read, name: str) -> None:
    page = drawn(name)
    await says(page, (await read(page, Task.TEXT)).text, ERROR_MAX)


async def test_text_of_a_photograph(read: Read) -> None:
    page = drawn("photograph")
    await says(page, (await read(page, Task.TEXT)).text, PHOTOGRAPH_ERROR_MAX)


async def test_a_blank_page_says_nothing(read: Read) -> None:
    page = drawn("blank")
    result = await read(page, Task.TEXT)
    assert (result.text.strip(), result.blocks, result.sizes) == ("", (), (page.size,))
    assert (await read(page, Task.MARKDOWN)).text.strip() == ""
    assert json.loads((await read(page, Task.LAYOUT)).text) == []


@pytest.mark.parametrize("name", ["letter", "columns", "listing", "ruled"])
async def test_reading_order(read: Read, name: str) -> None:
    """Each region's first words follow those of the region before, column after column."""
    page = drawn(name)
    heads = [" ".join(region.lines[0].text.split()[:4]).lstrip("• ") for region in page.regions]
    assert in_order(heads, (await read(page, Task.TEXT)).text) == []
    assert in_order(heads, (await read(page, Task.MARKDOWN)).text.replace("|", " ")) == []


# ---- Markdown


@pytest.mark.parametrize("name", ["columns", "listing", "ruled", "korean", "russian", "chinese"])
async def test_headings(read: Read, name: str) -> None:
    """Titles and section heads are headings, nothing else is, no title is below a section."""
    page = drawn(name)
    parts = markdown_parts((await read(page, Task.MARKDOWN)).text)
    found = [text for kind, text in parts if kind.startswith("h")]
    wanted = {Category.TITLE, Category.SECTION_HEADER}
    assert found == [flat(region.text) for region in page.regions if region.category in wanted]
    ranks = {text: int(kind[1]) for kind, text in parts if kind.startswith("h")}
    sections = [ranks[r.text] for r in page.regions if r.category is Category.SECTION_HEADER]
    assert all(ranks[flat(page.regions[0].text)] <= rank for rank in sections)


async def test_paragraphs_are_whole(read: Read) -> None:
    """A paragraph set over several lines is one paragraph of Markdown, in both columns."""
    page = drawn("columns")
    parts = markdown_parts((await read(page, Task.MARKDOWN)).text)
    found = [text for kind, text in parts if kind == "p"]
    wanted = [flat(r.text) for r in page.regions if r.category is Category.TEXT]
    assert len(found) == len(wanted), found
    for truth, text in zip(wanted, found, strict=True):
        assert character_error(truth, text) <= ERROR_MAX, differences(truth, text)


async def test_lists(read: Read) -> None:
    page = drawn("listing")
    parts = markdown_parts((await read(page, Task.MARKDOWN)).text)
    items = [flat(r.text) for r in page.regions if r.category is Category.LIST_ITEM]
    bullets = [text.removeprefix("• ") for text in items if text.startswith("•")]
    numbers = [text.partition(". ")[2] for text in items if not text.startswith("•")]
    assert [text for kind, text in parts if kind == "ul"] == bullets
    assert [text for kind, text in parts if kind == "ol"] == numbers


async def test_a_page_of_a_journal(read: Read) -> None:
    """Running heads come first, bullets that stand apart are the list's, a heading close above a
    table is none of its cells and no caption."""
    page = drawn("journal")
    result = await read(page, Task.LAYOUT)
    categories = [block.category for block in result.blocks]
    assert categories == [region.category for region in page.regions]
    assert [block.text for block in result.blocks[:2]] == list(HEADS)
    markdown = (await read(page, Task.MARKDOWN)).text
    assert markdown_tables(markdown) == list(page.tables)
    parts = markdown_parts(markdown)
    assert [text for kind, text in parts if kind == "ul"] == list(RULES)
    assert [text for kind, text in parts if kind == "h2"] == [
        region.text for region in page.regions if region.category is Category.SECTION_HEADER
    ]


# ---- tables


@pytest.mark.parametrize("name", TABLES)
async def test_tables_in_markdown(read: Read, name: str) -> None:
    page = drawn(name)
    assert markdown_tables((await read(page, Task.MARKDOWN)).text) == list(page.tables)


@pytest.mark.parametrize("name", TABLES)
async def test_only_the_tables(read: Read, name: str) -> None:
    """Table mode: the same tables, and not a word from around them."""
    page = drawn(name)
    text = (await read(page, Task.TABLE)).text
    assert markdown_tables(text) == list(page.tables)
    outside = [r.text for r in page.regions if r.category is not Category.TABLE]
    assert [words for words in outside if flat(words) in flat(text)] == []


@pytest.mark.parametrize("name", TABLES)
async def test_tables_in_html(read: Read, name: str) -> None:
    page = drawn(name)
    blocks = await layout(read, page)
    tables = [block for block in blocks if block["category"] == "Table"]
    assert list(chain.from_iterable(html_tables(block["text"]) for block in tables)) == list(
        page.tables
    )
    assert len(tables) == 1
    truth = around([r.box for g in page.regions if g.category is Category.TABLE for r in g.lines])
    assert overlap(tuple(tables[0]["bbox"]), truth) >= TABLE_OVERLAP_MIN


async def test_cells_over_several_columns_and_rows(read: Read) -> None:
    """HTML spans them; Markdown, which cannot, repeats what stands over several columns."""
    page = drawn("spanned")
    tables = [block["text"] for block in await layout(read, page) if block["category"] == "Table"]
    assert len(tables) == 1
    assert tables[0].startswith(f"<table>{SPANNED_HTML}")
    first = markdown_tables((await read(page, Task.MARKDOWN)).text)[0]
    assert first[0] == ("Site", "2022", "2022", "2023", "2023")
    assert first[2:] == VISITORS


# ---- fields


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("receipt", Task.RECEIPT),
        ("receipt_us", Task.RECEIPT),
        ("receipt_de", Task.RECEIPT),
        ("invoice", Task.INVOICE),
        ("invoice_uk", Task.INVOICE),
        ("form", Task.FORM),
    ],
)
async def test_fields(read: Read, name: str, task: Task) -> None:
    page = drawn(name)
    assert json.loads((await read(page, task)).text) == page.fields


@pytest.mark.parametrize("task", [Task.RECEIPT, Task.INVOICE])
async def test_absent_fields_are_empty_or_zero(read: Read, task: Task) -> None:
    """A letter is no receipt: every key is there, and no sum is made up."""
    page = drawn("letter")
    found = json.loads((await read(page, task)).text)
    like = drawn("receipt" if task is Task.RECEIPT else "invoice").fields
    assert set(found) == set(like)
    assert (found["subtotal"], found["tax"], found["total"]) == (0, 0, 0)
    assert found["items" if task is Task.RECEIPT else "line_items"] == []


# ---- boxes


@pytest.mark.parametrize("name", ["letter", "columns", "listing", "ruled", "russian", *TURNED])
async def test_layout(read: Read, name: str) -> None:
    """Boxes lie on the page, hold every line, none stands where nothing is written."""
    page = drawn(name)
    boxes = [tuple(block["bbox"]) for block in await layout(read, page)]
    width, height = page.size
    assert boxes
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    bare = [line.text for line in page.lines if covered(line.box, boxes) < COVERED_MIN]
    assert bare == []
    empty = [b for b in boxes if not any(shared_area(line.box, b) for line in page.lines)]
    assert empty == []


@pytest.mark.parametrize("name", RUNNING)
async def test_layout_text(read: Read, name: str) -> None:
    """The blocks' own texts say what the page says, in its order."""
    page = drawn(name)
    text = "\n".join(block.get("text", "").lstrip("# ") for block in await layout(read, page))
    await says(page, text, ERROR_MAX)


@pytest.mark.parametrize("name", ["columns", "listing", "journal", "korean"])
async def test_layout_alone_is_the_layout_without_its_texts(read: Read, name: str) -> None:
    """Although hardly a line of it is read."""
    page = drawn(name)
    blocks = json.loads((await read(page, Task.LAYOUT_ONLY)).text)
    whole = await layout(read, page)
    assert blocks == [{"bbox": b["bbox"], "category": b["category"]} for b in whole]
    assert blocks


async def test_blocks_of_the_result_are_those_of_the_json(read: Read) -> None:
    page = drawn("columns")
    result = await read(page, Task.LAYOUT)
    written = [(tuple(b["bbox"]), b["category"]) for b in json.loads(result.text)]
    assert [(block.box, block.category.value) for block in result.blocks] == written
    assert result.sizes == (page.size,)


@pytest.mark.parametrize(("name", "degrees"), TURNED.items())
async def test_a_turned_page_reads_as_the_upright_one(read: Read, name: str, degrees: int) -> None:
    """The same text, and each block where the turn has taken it."""
    upright, turned = drawn("letter"), drawn(name)
    said = flat((await read(turned, Task.TEXT)).text)
    assert said == flat((await read(upright, Task.TEXT)).text)
    wanted = [
        (block["category"], turn(tuple(block["bbox"]), upright.size, degrees))
        for block in await layout(read, upright)
    ]
    found = [(b["category"], tuple(b["bbox"])) for b in await layout(read, turned)]
    assert [category for category, _ in found] == [category for category, _ in wanted]
    for (_, box), (_, other) in zip(found, wanted, strict=True):
        assert overlap(box, other) >= TURNED_OVERLAP_MIN, (box, other)


async def says(page: Page, text: str, most: float) -> None:
    error = character_error(page.text, text)
    assert error <= most, f"{error:.2%} of {page.name}:\n{differences(page.text, text)}"


async def layout(read: Read, page: Page) -> list[dict[str, Any]]:
    result: Result = await read(page, Task.LAYOUT)
    blocks = json.loads(result.text)
    assert isinstance(blocks, list)
    return blocks
