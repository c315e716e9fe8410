"""Cells from lines and rulings, and how tables are written."""

from __future__ import annotations

import numpy as np
import pytest

from shared.engine.embedded.lines import Rulings
from shared.engine.embedded.rulings import find_rulings
from shared.engine.embedded.tables import (
    Cell,
    Grid,
    cell_text,
    read_table,
    write_html,
    write_markdown,
    write_plain,
)
from tests.shared.engine.handwritten import Paper, grid

BOX = (90.0, 90.0, 900.0, 400.0)
NONE = Rulings()


def cells(found: Grid) -> list[list[str]]:
    """The grid's texts, a merged cell's only in its first place."""
    places = [[""] * found.columns for _ in range(found.rows)]
    for cell in found.cells:
        places[cell.row][cell.column] = cell.text
    return places


def test_an_unruled_table() -> None:
    rows = [
        ["Name", "Size", "Price"],
        ["Nut", "4", "1.20"],
        ["Bolt", "", "2.40"],
        ["Nail", "9", ""],
    ]
    paper = Paper()
    paper.table(rows, (100, 320, 520), 100)
    assert cells(read_table(paper.lines, NONE, BOX)) == rows


def test_cells_that_touch_stay_apart() -> None:
    """Detected boxes are wider than their letters and may meet between two columns."""
    rows = [["178", "$ 141"], ["3,4", "2,532"], ["876", "68"]]
    paper = Paper()
    for number, (left, right) in enumerate(rows):
        paper.write(left, 100, 100 + number * 30, width=100)
        paper.write(right, 200, 100 + number * 30, width=100)
    assert cells(read_table(paper.lines, NONE, BOX)) == rows


def test_a_ruled_table_trusts_its_rulings() -> None:
    """Wrapped words are one cell, and an empty cell is a cell."""
    paper = Paper()
    paper.table([["Name", "What it is for"], ["Nut", ""]], (100, 320), 100, pitch=60)
    paper.write("holds a", 320, 160)
    paper.write("bolt", 320, 180)
    found = read_table(paper.lines, grid((90, 300, 600), (90, 150, 210)), BOX)
    assert cells(found) == [["Name", "What it is for"], ["Nut", "holds a bolt"]]


def test_missing_rulings_merge_cells() -> None:
    paper = Paper()
    paper.write("Both", 250, 100)
    paper.table([["a", "b"], ["c", "d"]], (100, 320), 140)
    rulings = Rulings(
        horizontal=tuple((90.0, float(y), 600.0) for y in (90, 130, 170, 210)),
        vertical=((90, 90, 210), (300, 130, 210), (600, 90, 210)),
    )
    found = read_table(paper.lines, rulings, BOX)
    assert found.cells[0] == Cell(0, 0, "Both", columns=2)
    assert cells(found)[1:] == [["a", "b"], ["c", "d"]]
    assert found.head == 2


def test_rows_without_lines_between_them() -> None:
    """Only the head and the frame are drawn: printed rows are rows, a cell beside two is tall."""
    paper = Paper()
    paper.table([["A", "B", "C"]], (100, 320, 500), 100)
    paper.column(["1", "2"], 320, 150, pitch=30)
    paper.column(["3", "4"], 500, 150, pitch=30)
    paper.write("x", 100, 165)
    found = read_table(paper.lines, grid((90, 300, 480, 700), (90, 140, 210)), BOX)
    assert cells(found) == [["A", "B", "C"], ["x", "1", "3"], ["", "2", "4"]]
    assert Cell(1, 0, "x", rows=2) in found.cells


def test_a_head_underlined_across_columns_stands_over_them() -> None:
    paper = Paper()
    paper.write("Year", 440, 100)
    paper.table([["2023", "2024"], ["1", "2"], ["3", "4"]], (400, 500), 140)
    paper.table([["cost"], ["sum"]], (100,), 180)
    rulings = Rulings(horizontal=((390, 125, 560), (390, 165, 560)))
    found = read_table(paper.lines, rulings, BOX)
    assert Cell(0, 1, "Year", columns=2) in found.cells
    assert write_markdown(found).splitlines()[0] == "|  | Year | Year |"


def test_a_head_centred_over_columns_stands_over_them() -> None:
    paper = Paper()
    paper.write("Fox", 355, 100, width=30)
    paper.write("Hen", 655, 100, width=30)
    rows = [["name", "a", "b", "c", "a", "b", "c"], *[["x", *"123456"]] * 3]
    paper.table(rows, (100, 280, 365, 450, 580, 665, 750), 140)
    found = read_table(paper.lines, NONE, BOX)
    assert [cell for cell in found.cells if cell.row == 0] == [
        Cell(0, 1, "Fox", columns=3),
        Cell(0, 4, "Hen", columns=3),
    ]


def test_currency_signs_belong_to_their_amounts() -> None:
    paper = Paper()
    paper.table(
        [["cost", "$", "178"], ["tax", "", "20"], ["sum", "$", "198"]], (100, 400, 500), 100
    )
    assert cells(read_table(paper.lines, NONE, BOX)) == [
        ["cost", "$ 178"],
        ["tax", "20"],
        ["sum", "$ 198"],
    ]


def test_two_tables_above_one_another_keep_their_columns() -> None:
    """Words of the lower one stand across two columns of the upper one, in half of all rows."""
    upper = [["name", "1", "2", "3", "4"]] * 4
    lower = [["name", "what it is", "and why not"]] * 4
    paper = Paper()
    paper.table(upper, (100, 300, 400, 500, 600), 100)
    paper.table(lower, (100, 305, 505), 300)
    found = cells(read_table(paper.lines, NONE, BOX))
    assert found == [*upper, *([*row, "", ""] for row in lower)]


def test_a_table_without_a_word() -> None:
    empty = read_table([], NONE, BOX)
    assert (write_markdown(empty), write_html(empty), write_plain(empty)) == ("", "", "")


# ---- written

MERGED = Grid(
    rows=3,
    columns=3,
    cells=(
        Cell(0, 0, "a|b"),
        Cell(0, 1, "<both>", columns=2),
        Cell(1, 0, "x & y", rows=2),
        Cell(1, 1, "1\n2"),
        Cell(1, 2, "3"),
        Cell(2, 2, "4"),
    ),
)


def test_markdown_repeats_heads_and_leaves_the_rest_blank() -> None:
    assert write_markdown(MERGED) == (
        "| a\\|b | <both> | <both> |\n| --- | --- | --- |\n| x & y | 1<br>2 | 3 |\n|  |  | 4 |"
    )


def test_html_has_spans_and_nothing_else() -> None:
    assert write_html(MERGED) == (
        '<table><tr><td>a|b</td><td colspan="2">&lt;both&gt;</td></tr>'
        '<tr><td rowspan="2">x &amp; y</td><td>1<br>2</td><td>3</td></tr>'
        "<tr><td></td><td>4</td></tr></table>"
    )


def test_plain_rows_are_parted_by_tabs() -> None:
    assert write_plain(MERGED) == "a|b\t<both>\nx & y\t1 2\t3\n4"


# ---- rulings


def drawn(noise: int = 0) -> np.ndarray:
    page = np.full((800, 600), 250, dtype=np.uint8)
    page[100:102, 50:550] = 20
    page[300, 50:300] = 170
    page[100:302, 50:52] = 20
    page[500:560, 100:400] = 30
    if noise:
        grain = np.random.default_rng(7).integers(-noise, noise, page.shape)
        page = np.clip(page + grain, 0, 255).astype(np.uint8)
    return page


@pytest.mark.parametrize("noise", [0, 4])
def test_rulings_are_found_and_bars_are_none(noise: int) -> None:
    """A thick line, a grey hairline and a vertical; a black bar has no line."""
    found = find_rulings(drawn(noise))
    assert [tuple(map(round, line)) for line in found.horizontal] == [
        (50, 100, 550),
        (50, 300, 300),
    ]
    assert [tuple(map(round, line)) for line in found.vertical] == [(50, 100, 302)]


def test_an_empty_page_has_no_rulings() -> None:
    assert find_rulings(np.full((50, 40), 255, dtype=np.uint8)) == Rulings()


def test_a_head_over_columns_need_not_be_underlined() -> None:
    """The columns' lines begin below it."""
    paper = Paper()
    paper.write("Month of May", 200, 105)
    days = (("Sun", "Mon", "Tue", "Wed"), ("1", "2", "3", "4"), ("8", "9", "10", "11"))
    paper.table(days, (100, 190, 280, 370), 140)
    rulings = Rulings(
        horizontal=tuple((90, y, 450) for y in (95, 170, 210, 250)),
        vertical=tuple((x, 95 if x in {90, 450} else 132, 250) for x in (90, 180, 270, 360, 450)),
    )
    table = read_table(paper.lines, rulings, (90, 95, 450, 250))
    assert cells(table)[0] == ["Month of May", "", "", ""]
    assert cells(table)[1:] == [list(row) for row in days]


def test_lines_that_all_end_far_from_the_cells_edge_end_on_purpose() -> None:
    paper = Paper()
    paper.column(["1: The term starts", "4: Examinations", "16: A day for all"], 100, 100)
    assert cell_text(paper.lines, 700) == ("1: The term starts\n4: Examinations\n16: A day for all")
    assert "\n" not in cell_text(paper.lines, 300)


def test_a_sign_at_an_amounts_end_is_the_next_amounts() -> None:
    paper = Paper()
    rows = [["Year", "2025", "2024"], ["Revenue", "$ 178 $", "141"], ["Fees", "$ 4 $", "2,5"]]
    paper.table(rows, (100, 320, 520), 100)
    found = cells(read_table(paper.lines, NONE, BOX))
    assert found[1:] == [["Revenue", "$ 178", "$ 141"], ["Fees", "$ 4", "$ 2,5"]]


def test_numbers_are_not_merged_where_a_border_is_faint() -> None:
    paper = Paper()
    paper.table((("Su", "Mo", "Tu"), ("5", "6", "7"), ("12", "13", "14")), (100, 220, 340), 100)
    ruled = grid((90.0, 210.0, 330.0, 450.0), (95.0, 130.0, 170.0, 210.0))
    faint = Rulings(
        horizontal=tuple(
            (210.0, y, x2) if y == 170.0 else (x1, y, x2) for x1, y, x2 in ruled.horizontal
        ),
        vertical=ruled.vertical,
    )
    assert cells(read_table(paper.lines, faint, (90.0, 95.0, 450.0, 210.0))) == [
        ["Su", "Mo", "Tu"],
        ["5", "6", "7"],
        ["12", "13", "14"],
    ]


def test_plain_cells_are_as_they_are_printed() -> None:
    paper = Paper()
    paper.table(
        (("Day", "What"), ("12", "开始。"), ("", "13日结束"), ("14", "rep-")), (100, 300), 100
    )
    box, rulings = (90.0, 95.0, 500.0, 250.0), grid((90, 290, 500), (95, 130, 210, 250))
    kept = write_plain(read_table(paper.lines, rulings, box, plain=True))
    assert kept.splitlines()[1] == "12\t开始。 13日结束"
