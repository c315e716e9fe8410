"""Blocks and their order, from hand-written lines: columns, headings, tables, margins, columns of
Chinese."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.engine.embedded.bounds import share_inside
from shared.engine.embedded.lines import Rulings, Span
from shared.engine.embedded.order import reading_order
from shared.engine.embedded.plan import plan_page
from shared.ocr import Category
from tests.shared.engine.handwritten import Paper, grid, region, span

SIZE = (1000, 1400)
BODY = ["the quick brown fox jumps over the dog"] * 5


def test_an_empty_page_has_no_blocks() -> None:
    assert plan_page([], [], Rulings(), SIZE) == ()


def test_a_figure_alone_is_a_picture() -> None:
    (found,) = plan_page([], [region("figure", (10, 10, 500, 500))], Rulings(), SIZE)
    assert (found.category, found.spans) == (Category.PICTURE, ())


def test_two_columns_under_a_heading_are_read_one_after_the_other() -> None:
    paper = Paper()
    paper.write("a heading across the page", 100, 40, em=40, width=800)
    paper.column([f"left {number} {BODY[0]}" for number in range(6)], 80, 120, width=380)
    paper.column([f"right {number} {BODY[0]}" for number in range(6)], 520, 120, width=380)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    firsts = [paper.said(plan)[0].split()[0] for plan in plans]
    assert firsts == ["a", "left", "right"]
    assert [plan.category for plan in plans] == [Category.TITLE, Category.TEXT, Category.TEXT]


def test_a_heading_across_two_columns_parts_them() -> None:
    paper = Paper()
    for y, name in ((100, "upper"), (420, "lower")):
        paper.column([f"{name} left {BODY[0]}"] * 6, 80, y, width=380)
        paper.column([f"{name} right {BODY[0]}"] * 6, 520, y, width=380)
    paper.write("between", 100, 300, em=40, width=800)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    firsts = [" ".join(paper.said(plan)[0].split()[:2]) for plan in plans]
    assert firsts == ["upper left", "upper right", "between", "lower left", "lower right"]


def test_columns_with_a_narrow_gutter_are_not_one_line() -> None:
    """A gutter narrower than a line is high is one all the same when lines begin along it."""
    paper = Paper()
    for number in range(8):
        paper.write(f"left {number}", 80, 100 + number * 20, width=400)
        paper.write(f"right {number}", 496, 100 + number * 20, width=400)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    assert [paper.said(plan)[0] for plan in plans] == ["left 0", "right 0"]
    assert [len(plan.spans) for plan in plans] == [8, 8]


def test_pieces_of_one_line_are_read_from_left_to_right() -> None:
    """Large scans: the pieces' tops differ by more than ten pixels."""
    paper = Paper()
    paper.write("second", 515, 100, em=60, width=300)
    paper.write("first", 100, 115, em=60, width=400)
    (plan,) = plan_page(paper.spans, [], Rulings(), SIZE)
    assert paper.said(plan) == ["first", "second"]


def test_wider_gaps_part_paragraphs() -> None:
    paper = Paper()
    paper.column(BODY, 80, 100, width=800)
    paper.column(BODY, 80, 100 + 5 * 20 + 14, width=800)
    assert [len(plan.spans) for plan in plan_page(paper.spans, [], Rulings(), SIZE)] == [5, 5]


def test_an_indented_first_line_begins_a_paragraph() -> None:
    paper = Paper()
    for number in range(9):
        indent = 30 if number == 4 else 0
        paper.write(BODY[0], 80 + indent, 100 + number * 20, width=800 - indent)
    assert [len(plan.spans) for plan in plan_page(paper.spans, [], Rulings(), SIZE)] == [4, 5]


def test_a_large_initial_belongs_to_its_paragraph() -> None:
    paper = Paper()
    paper.write("nce upon a time there was", 150, 100, width=550)
    paper.write("a fox who lived in a wood", 150, 122, width=550)
    paper.column(["and there he stayed for ever"] * 4, 100, 144, width=600)
    paper.write("O", 100, 100, em=44, width=40)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    assert paper.said(plans[0])[:2] == ["O", "nce upon a time there was"]


# ---- regions


def test_regions_name_blocks() -> None:
    paper = Paper()
    paper.write("Results", 80, 100, width=200)
    paper.column(BODY, 80, 140, width=800)
    paper.write("Figure 1: a fox", 80, 600, width=300)
    regions = [
        region("title", (78, 98, 282, 122)),
        region("text", (78, 138, 882, 242)),
        region("figure", (80, 300, 800, 580)),
        region("figure_caption", (78, 598, 382, 622)),
        region("header", (0, 0, 1000, 90), score=0.3),
    ]
    plans = plan_page(paper.spans, regions, Rulings(), SIZE)
    assert [plan.category for plan in plans] == [
        Category.SECTION_HEADER,
        Category.TEXT,
        Category.PICTURE,
        Category.CAPTION,
    ]


def test_a_figure_full_of_text_is_text() -> None:
    paper = Paper()
    paper.column(BODY * 4, 80, 100, width=800)
    plans = plan_page(paper.spans, [region("figure", (70, 90, 900, 520))], Rulings(), SIZE)
    assert {plan.category for plan in plans} == {Category.TEXT}


def running_page() -> Paper:
    paper = Paper()
    paper.write("A running head", 80, 40, width=200)
    paper.write("A section", 80, 100, em=30, width=200)
    for number in range(4):
        paper.column(BODY, 80, 160 + number * 130, width=800)
    paper.write("17", 480, 1340, width=30)
    return paper


def test_running_heads_and_page_numbers_stand_first_and_last() -> None:
    paper = running_page()
    regions = [region("header", (78, 38, 282, 62))]
    plans = plan_page(paper.spans, regions, Rulings(), SIZE)
    assert plans[0].category is Category.PAGE_HEADER
    assert plans[0].sure
    assert (plans[-1].category, paper.said(plans[-1])) == (Category.PAGE_FOOTER, ["17"])
    assert not plans[-1].sure


def test_a_running_head_over_two_columns_is_read_first() -> None:
    """Without the layout model too: neither its name nor its page number is in a column."""
    paper = Paper()
    paper.column(BODY * 3, 80, 140, width=380)
    paper.column(BODY * 3, 520, 140, width=380)
    paper.write("447", 870, 42, width=30)
    paper.write("Advocacy in Action", 80, 40, width=200)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    assert [paper.said(plan)[0] for plan in plans[:2]] == ["Advocacy in Action", "447"]
    assert len(plans) == 4


def test_a_large_line_at_the_top_is_a_heading_whatever_the_model_says() -> None:
    paper = Paper()
    paper.write("The name of the paper", 80, 40, em=40, width=500)
    for number in range(4):
        paper.column(BODY, 80, 160 + number * 130, width=800)
    regions = [region("header", (78, 38, 582, 82))]
    first = plan_page(paper.spans, regions, Rulings(), SIZE)[0]
    assert first.category in {Category.TITLE, Category.SECTION_HEADER}


def test_a_card_has_no_header() -> None:
    """With next to nothing between, what stands at the top is the text."""
    paper = Paper()
    paper.write("Jane Fox", 80, 20, width=200)
    paper.write("Den 7", 80, 300, width=100)
    regions = [region("header", (78, 18, 282, 42)), region("footer", (78, 298, 182, 322))]
    plans = plan_page(paper.spans, regions, Rulings(), (500, 340))
    assert {plan.category for plan in plans} == {Category.TEXT}


# ---- tables

CELLS = (
    ("Name", "Size", "Price"),
    ("Nut", "4", "1.20"),
    ("Bolt", "6", "2.40"),
    ("Nail", "", "9.9"),
)


@pytest.mark.parametrize("rulings", [grid((90, 300, 500, 700), (95, 130, 170, 210, 250))])
def test_a_grid_of_rulings_is_a_table(rulings: Rulings) -> None:
    paper = Paper()
    paper.table(CELLS, (100, 320, 520), 100)
    paper.write("A line of text below the table", 100, 400, width=600)
    table, text = plan_page(paper.spans, [], rulings, SIZE)
    assert (table.category, text.category) == (Category.TABLE, Category.TEXT)
    assert not table.loose
    assert paper.said(table)[:3] == ["Name", "Size", "Price"]


def test_cells_that_line_up_are_a_table_without_a_line_drawn() -> None:
    paper = Paper()
    paper.column(BODY, 80, 100, width=800)
    paper.table(CELLS, (100, 320, 520), 300)
    paper.column(BODY, 80, 600, width=800)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    assert [plan.category for plan in plans] == [Category.TEXT, Category.TABLE, Category.TEXT]
    assert plans[1].loose
    assert len(plans[1].spans) == 11


def test_the_layout_models_table_is_one() -> None:
    paper = Paper()
    paper.table(CELLS, (100, 320, 520), 100)
    regions = [region("table", (90, 90, 700, 260))]
    (table,) = plan_page(paper.spans, regions, Rulings(), SIZE)
    assert (table.category, table.loose) == (Category.TABLE, False)


def test_a_frame_around_text_is_no_table() -> None:
    paper = Paper()
    paper.column(BODY, 100, 100, width=700)
    plans = plan_page(paper.spans, [], grid((90, 810), (90, 210)), SIZE)
    assert [plan.category for plan in plans] == [Category.TEXT]


def test_a_line_over_two_cells_is_cut_at_the_ruling() -> None:
    paper = Paper()
    paper.table((("Name", "Size"), ("Nut", "4"), ("Bolt", "6")), (100, 320), 100)
    merged = paper.write("Nail and nine", 100, 220, width=260)
    rulings = grid((90, 300, 500), (95, 130, 170, 210, 250))
    (table,) = plan_page(paper.spans, [], rulings, SIZE)
    left, right = table.spans[-2:]
    assert (left.box, right.box) == ((100, 220, 300, 240), (300, 220, 360, 240))
    assert right.quad == ((300, 220), (360, 220), (360, 240), (300, 240))
    indexes = [each.index for each in table.spans]
    assert len(set(indexes)) == 8
    assert merged.span.index not in indexes


def test_running_text_in_two_columns_is_no_table() -> None:
    paper = Paper()
    paper.column(BODY * 3, 80, 100, width=380)
    paper.column(BODY * 3, 520, 100, width=380)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    assert {plan.category for plan in plans} == {Category.TEXT}


# ---- vertical text


def test_columns_of_chinese_run_from_right_to_left() -> None:
    columns = [
        span((x, 50, x + 40, 900), index, vertical=True) for index, x in enumerate((100, 160, 220))
    ]
    (plan,) = plan_page(columns, [], Rulings(), (400, 1000))
    assert [each.index for each in plan.spans] == [2, 1, 0]


# ---- any page

boxes = st.builds(
    lambda x, y, wide, high: (float(x), float(y), float(x + wide), float(y + high)),
    st.integers(0, 900),
    st.integers(0, 1300),
    st.integers(4, 400),
    st.integers(4, 60),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(boxes, st.booleans()), max_size=30), st.lists(boxes, max_size=4))
def test_every_line_is_in_exactly_one_block(
    found: list[tuple[tuple[float, float, float, float], bool]],
    around: list[tuple[float, float, float, float]],
) -> None:
    spans = [span(box, index, vertical=down) for index, (box, down) in enumerate(found)]
    labels = ("table", "figure", "header", "title")
    regions = [region(label, box) for label, box in zip(labels, around, strict=False)]
    rulings = grid((0, 300, 600, 1000), (0, 400, 800, 1400))
    plans = plan_page(spans, regions, rulings, SIZE)
    pieces: list[Span] = [each for plan in plans for each in plan.spans]
    assert len({piece.index for piece in pieces}) == len(pieces)
    for each in spans:
        kept = [p for p in pieces if p.index == each.index or share_inside(p.box, each.box) > 0.99]
        assert kept


@settings(deadline=None, max_examples=60)
@given(st.lists(boxes, max_size=30))
def test_the_reading_order_is_a_permutation(found: list[tuple[float, float, float, float]]) -> None:
    assert sorted(reading_order(found)) == list(range(len(found)))
    assert sorted(reading_order(found, break_px=30)) == list(range(len(found)))


def test_a_page_of_a_thousand_lines_is_planned_soon() -> None:
    """In the processor's own time, of which a busy machine takes no more; it was 0.2 s of it once,
    and 2 s with three times the lines."""
    paper = Paper()
    for x in (60, 400, 740):
        paper.column([BODY[0]] * 800, x, 60, width=300, pitch=22)
    started = time.thread_time()
    plans = plan_page(paper.spans, [], grid((50, 390, 730, 1050), (50, 17800)), (1100, 18000))
    assert time.thread_time() - started < 0.5
    assert sum(len(plan.spans) for plan in plans) == 2400


def test_the_name_beside_a_page_number_is_a_running_head() -> None:
    paper = Paper()
    paper.column(BODY * 3, 80, 140, width=800)
    paper.write("Risks of travelling", 380, 40, width=220)
    paper.write("2763", 850, 40, width=40)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    heads = [paper.said(plan)[0] for plan in plans if plan.category is Category.PAGE_HEADER]
    assert heads == ["Risks of travelling", "2763"]


def test_a_line_over_two_rows_is_cut_at_the_ruling() -> None:
    paper = Paper()
    paper.table((("Su", "Mo"), ("5", "6"), ("", "13")), (100, 320), 100)
    both = paper.write("5 12", 100, 180, em=40, width=20)
    rulings = grid((90, 300, 500), (95, 130, 170, 200, 240))
    (table,) = plan_page(paper.spans, [], rulings, SIZE)
    pieces = [each.box for each in table.spans if each.box[0] == 100 and each.box[1] >= 180]
    assert pieces == [(100, 180, 120, 200), (100, 200, 120, 220)]
    assert both.span.index not in [each.index for each in table.spans]


def test_a_centred_head_is_read_before_what_stands_below_it() -> None:
    """Although lines above and below it begin further left."""
    paper = Paper()
    paper.write("Contents", 80, 70, width=100)
    paper.column(["A name of some firm", "and its figures"], 380, 100, width=240)
    paper.write("A section", 80, 200, width=200)
    paper.column(BODY, 80, 240, width=840)
    plans = plan_page(paper.spans, [], Rulings(), SIZE)
    firsts = [paper.said(plan)[0] for plan in plans]
    assert firsts == ["Contents", "A name of some firm", "A section", BODY[0]]
