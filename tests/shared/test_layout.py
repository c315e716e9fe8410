"""Layout texts: what is written reads back, and what is damaged reads as far as it is whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.layout import (
    GRID,
    DotsWriter,
    read_dots,
    read_grounding,
    write_dots,
    write_grounding,
    write_tags,
)
from shared.ocr import Block, Category

BLOCKS = (
    Block(Category.TITLE, (10, 20, 300, 60), '# Über "uns"'),
    Block(Category.PICTURE, (10, 80, 300, 200), "a text it must not have"),
    Block(Category.TABLE, (10, 220, 300, 400), "<table><tr><td>1</td></tr></table>"),
    Block(Category.TEXT, (10, 420, 300, 460), "two\nlines"),
)


def test_dots_bytes() -> None:
    assert write_dots(BLOCKS) == (
        '[{"bbox": [10, 20, 300, 60], "category": "Title", "text": "# Über \\"uns\\""}, '
        '{"bbox": [10, 80, 300, 200], "category": "Picture"}, '
        '{"bbox": [10, 220, 300, 400], "category": "Table", '
        '"text": "<table><tr><td>1</td></tr></table>"}, '
        '{"bbox": [10, 420, 300, 460], "category": "Text", "text": "two\\nlines"}]'
    )


def test_dots_without_texts() -> None:
    items = json.loads(write_dots(BLOCKS, texts=False))
    assert [set(item) for item in items] == [{"bbox", "category"}] * 4


def test_dots_piece_by_piece_is_the_whole() -> None:
    writer = DotsWriter()
    pieces = [*map(writer.feed, BLOCKS), writer.close()]
    assert all(pieces)
    assert "".join(pieces) == write_dots(BLOCKS)


def test_dots_of_nothing_is_an_empty_array() -> None:
    assert write_dots([]) == "[]"
    assert read_dots("[]") == ()


def test_dots_cut_anywhere_gives_the_blocks_that_are_whole() -> None:
    text = write_dots(BLOCKS)
    whole = read_dots(text)
    assert len(whole) == 4
    counts = []
    for end in range(len(text) + 1):
        found = read_dots(text[:end])
        assert found == whole[: len(found)]
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == 4


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[{"bbox": [1, 2, 3, 4], "category": "text", "text": "x"}]\n```',
        '{"bbox": [1, 2, 3, 4], "category": "Text", "text": "x"}',
        '{"layout": [{"bbox": [1.2, 2, 3, 4], "category": "Text", "text": "x"}]}',
        '{"layout": [{"bbox": [1, 2, 3, 4], "category": "Text", "text": "x"}, {"bbox": [1',
        'Here it is: [{"bbox": [1, 2, 3, 4], "text": "x"}{"bbox": [1, 2, 3]}',
        '[{"bbox": [1, 2, 3, 4], "category": "Heading 9", "text": "x"}]',
    ],
)
def test_dots_in_other_wrappings(text: str) -> None:
    assert read_dots(text) == (Block(Category.TEXT, (1, 2, 3, 4), "x"),)


@pytest.mark.parametrize("text", ["", "no layout", "[1, 2]", "{" * 5000, '[{"bbox": "x"}]', "}]"])
def test_dots_of_garbage_are_no_blocks(text: str) -> None:
    assert read_dots(text) == ()


# ---- grounding


def test_grounding_bytes() -> None:
    assert write_grounding(BLOCKS, (1000, 500)) == (
        '<|ref|>title<|/ref|><|det|>[[10, 40, 300, 120]]<|/det|>\n# Über "uns"\n\n'
        "<|ref|>image<|/ref|><|det|>[[10, 160, 300, 400]]<|/det|>\n\n"
        "<|ref|>table<|/ref|><|det|>[[10, 440, 300, 799]]<|/det|>\n"
        "<table><tr><td>1</td></tr></table>\n\n"
        "<|ref|>text<|/ref|><|det|>[[10, 839, 300, 919]]<|/det|>\ntwo\nlines"
    )


def test_captions_of_tables_and_of_pictures() -> None:
    blocks = [Block(Category.CAPTION, (0, 0, 9, 9), text) for text in ("Table 2: x", "Figure 2: x")]
    text = write_grounding(blocks, (10, 10))
    assert "<|ref|>table_caption<|/ref|>" in text
    assert "<|ref|>image_caption<|/ref|>" in text
    assert [block.category for block in read_grounding(text, (10, 10))] == [Category.CAPTION] * 2


def test_several_boxes_in_one_tag() -> None:
    text = write_tags("The fox", [(0, 0, 100, 50), (0, 50, 100, 100)], (100, 100))
    assert text == ("<|ref|>The fox<|/ref|><|det|>[[0, 0, 999, 500], [0, 500, 999, 999]]<|/det|>")
    first, second = read_grounding(text, (100, 100))
    assert (first.category, first.text, first.box) == (Category.TEXT, "The fox", (0, 0, 100, 50))
    assert (second.text, second.box) == ("", (0, 50, 100, 100))


def test_grounding_of_the_original_model() -> None:
    """Spaces or none, a text before the first tag, a tag cut short at the end."""
    text = (
        "Sure:\n<|ref|>sub_title<|/ref|><|det|>[[1,2,999,4]]<|/det|>\n## Head\n\n"
        "<|ref|>text<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>\nBody\n\n<|ref|>tex"
    )
    assert read_grounding(text, (999, 999)) == (
        Block(Category.SECTION_HEADER, (1, 2, 999, 4), "## Head"),
        Block(Category.TEXT, (0, 0, 999, 999), "Body"),
    )


@pytest.mark.parametrize(
    "text", ["", "plain", "<|ref|>a<|/ref|>", "<|ref|>a<|/ref|><|det|>[[1, 2]]<|/det|>", "<|det|>"]
)
def test_grounding_of_garbage_is_no_blocks(text: str) -> None:
    assert read_grounding(text, (10, 10)) == ()


# ---- both ways

sides = st.integers(1, 5000)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(
    lambda text: text.replace("<|", "<").strip()
)


@st.composite
def pages(draw: st.DrawFn) -> tuple[tuple[int, int], list[Block]]:
    width, height = draw(sides), draw(sides)
    blocks = []
    for _ in range(draw(st.integers(0, 4))):
        category = draw(st.sampled_from(list(Category)))
        xs = sorted(draw(st.tuples(st.integers(0, width), st.integers(0, width))))
        ys = sorted(draw(st.tuples(st.integers(0, height), st.integers(0, height))))
        text = "" if category is Category.PICTURE else draw(texts)
        blocks.append(Block(category, (xs[0], ys[0], xs[1], ys[1]), text))
    return (width, height), blocks


@given(pages())
def test_dots_round_trip(page: tuple[tuple[int, int], list[Block]]) -> None:
    _, blocks = page
    assert read_dots(write_dots(blocks)) == tuple(blocks)


@given(pages())
def test_grounding_round_trip(page: tuple[tuple[int, int], list[Block]]) -> None:
    """Categories and texts come back; boxes within one unit of the coarser of the two grids."""
    size, blocks = page
    found = read_grounding(write_grounding(blocks, size), size)
    assert [(b.category, b.text) for b in found] == [(b.category, b.text) for b in blocks]
    units = [max(1.0, side / GRID) for side in (*size, *size)]
    for block, other in zip(blocks, found, strict=True):
        for place, again, unit in zip(block.box, other.box, units, strict=True):
            assert abs(place - again) <= unit
