"""PaddleOCR-VL's table language, and what its pipeline does to looping answers and formulas."""

from __future__ import annotations

import pytest

from services.paddle.cleaning import as_formula, as_paragraphs, with_dollars, without_repetition
from services.paddle.otsl import read_otsl, write_markdown
from shared.engine.embedded.tables import write_html


def html(text: str) -> str:
    grid = read_otsl(text)
    assert grid is not None
    return write_html(grid)


@pytest.mark.parametrize(
    ("otsl", "expected"),
    [
        (
            "<fcel>a<fcel>b<nl><fcel>c<ecel><nl>",
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td></td></tr></table>",
        ),
        (  # a head over two columns
            "<fcel>Head<lcel><nl><fcel>1<fcel>2<nl>",
            '<table><tr><td colspan="2">Head</td></tr><tr><td>1</td><td>2</td></tr></table>',
        ),
        (  # a label beside two rows
            "<fcel>L<fcel>1<nl><ucel><fcel>2<nl>",
            '<table><tr><td rowspan="2">L</td><td>1</td></tr><tr><td>2</td></tr></table>',
        ),
        (  # two by two
            "<fcel>X<lcel><fcel>1<nl><ucel><xcel><fcel>2<nl><fcel>a<fcel>b<fcel>c<nl>",
            (
                '<table><tr><td rowspan="2" colspan="2">X</td><td>1</td></tr><tr><td>2</td></tr>'
                "<tr><td>a</td><td>b</td><td>c</td></tr></table>"
            ),
        ),
        (  # rows of different lengths
            "<fcel>a<fcel>b<fcel>c<nl><fcel>d<nl>",
            (
                "<table><tr><td>a</td><td>b</td><td>c</td></tr>"
                "<tr><td>d</td><td></td><td></td></tr></table>"
            ),
        ),
        (  # empty places at a row's end that the other rows do not have
            "<fcel>a<fcel>b<nl><fcel>c<fcel>d<ecel><ecel><nl><fcel>e<fcel>f<nl>",
            (
                "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr>"
                "<tr><td>e</td><td>f</td></tr></table>"
            ),
        ),
        ("<fcel>a & <b<nl>", "<table><tr><td>a &amp; &lt;b</td></tr></table>"),
        ("<fcel>a<fcel>cut", "<table><tr><td>a</td><td>cut</td></tr></table>"),
        (  # tags that continue nothing
            "<lcel><fcel>a<nl><ucel><xcel><nl>",
            '<table><tr><td></td><td rowspan="2">a</td></tr><tr><td></td></tr></table>',
        ),
    ],
)
def test_tables(otsl, expected) -> None:
    assert html(otsl) == expected


def test_text_behind_a_continuing_tag_is_kept() -> None:
    assert "<td>late</td>" in html("<fcel>a<lcel>late<nl><fcel>1<fcel>2<nl>")


def test_words_without_tags_are_no_table() -> None:
    assert read_otsl("There is no table here.") is None
    assert read_otsl("") is None
    assert read_otsl("<nl><nl>") is None


def test_markdown_repeats_merged_heads_and_keeps_latex() -> None:
    grid = read_otsl("<fcel>Size<lcel><nl><fcel>w|x<fcel>$\\alpha$<nl><fcel>1<lcel><nl>")
    assert grid is not None
    assert write_markdown(grid) == (
        "| Size | Size |\n| --- | --- |\n| w\\|x | $\\alpha$ |\n| 1 |  |"
    )


# ---- repetition

LINE = "the same words again and "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short short short", "short short short"),
        ("ab" * 60, "ab"),
        ("A beginning. " + LINE * 30, "A beginning."),
        ("Total\n" + "0.00\n" * 30, "0.00"),
        ("\n".join(f"line {number}" for number in range(30)), None),
        (LINE + "x" * 80, LINE),
        ("A short line with x" * 4, None),
    ],
)
def test_repetition_is_cut_off(text, expected) -> None:
    found = without_repetition(text)
    assert found == (text if expected is None else expected)


def test_long_answers_alone_are_looked_at() -> None:
    assert without_repetition("ab" * 60, characters_min=5000) == "ab" * 60
    assert without_repetition("   " * 50) == "   " * 50


# ---- formulas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("costs $5", "costs $5"),
        ("so \\(a+b\\) is $c$", "so  $ a+b $ is c"),
        ("\\[\\[ x \\]\\]", " $$  x  $$ "),
        ("only \\( opens", "only \\( opens"),
    ],
)
def test_dollars(text, expected) -> None:
    assert with_dollars(text) == expected


def test_formulas_and_paragraphs() -> None:
    assert as_formula("\\[ E = mc^2 \\]") == as_formula("E = mc^2") == "$$\nE = mc^2\n$$"
    assert as_formula(" ") == ""
    assert as_paragraphs("one\ntwo\n\n three \n") == "one\n\ntwo\n\nthree"
