"""The measures themselves: one that cannot fail would let every page pass."""

from __future__ import annotations

import pytest

from tests.reading.measure import (
    around,
    character_error,
    covered,
    differences,
    html_tables,
    in_order,
    markdown_parts,
    markdown_tables,
    overlap,
)


@pytest.mark.parametrize(
    ("truth", "found", "error"),
    [
        ("one two", "one  two\n", 0.0),
        ("图书 馆，一", "图书馆，\n一", 0.0),
        ("도서관 이용", "도서관이용", 1 / 6),
        ("abcd", "abxd", 0.25),
        ("abcd", "", 1.0),
    ],
)
def test_character_error_forgives_white_space_alone(truth: str, found: str, error: float) -> None:
    assert character_error(truth, found) == pytest.approx(error)


def test_differences_show_where() -> None:
    assert differences("one two", "one twa", around=1) == "'wo' read as 'wa'"


def test_order() -> None:
    assert in_order(["a", "b"], "a b") == []
    assert in_order(["b", "a"], "a b") == ["a"]


def test_tables() -> None:
    assert markdown_tables("| a | b |\n|---|---|\n| 1 | |") == [(("a", "b"), ("1", ""))]
    assert html_tables("<table><tr><th>a</th><td>b<br>c</td></tr></table>") == [(("a", "b c"),)]
    assert markdown_tables("a | b") == html_tables("a | b") == []


def test_parts() -> None:
    assert markdown_parts("# A\n\ntext\nmore\n\n- x\n\n1. y") == [
        ("h1", "A"),
        ("p", "text more"),
        ("ul", "x"),
        ("ol", "y"),
    ]


def test_boxes() -> None:
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert covered((0, 0, 10, 10), [(0, 0, 5, 10), (9, 9, 20, 20)]) == 0.5
    assert around([(1, 5, 3, 9), (0, 6, 2, 7)]) == (0, 5, 3, 9)
