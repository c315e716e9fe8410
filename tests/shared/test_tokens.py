"""The embedded engine's tokens: how they are counted, where a text is cut, where it stops."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tokens import StopFilter, TokenCutter, count_tokens

TEXTS = st.text(alphabet="ab_é1 .,<>\n\t中か한\u0301", max_size=40)
CUTS = st.lists(st.integers(min_value=0, max_value=40), max_size=6)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[start:end] for start, end in pairwise(places)]


def through(flow: TokenCutter | StopFilter, pieces: list[str]) -> str:
    return "".join(flow.feed(piece) for piece in pieces) + flow.close()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \n\t", 0),
        ("Hello, world!", 4),
        ("snake_case x1 42", 3),
        ("naïve café cafe\u0301", 3),
        ("中文字", 3),
        ("ひらがなカタカナ", 8),
        ("한국어 글", 4),
        ("abc中def", 3),
        ("<td>1.50</td>", 10),
        ('{"a": [1]}', 9),
        ("don't", 3),
        ("Привет, мир", 3),
        ("€5", 2),
    ],
)
def test_tokens_are_words_cjk_characters_and_marks(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@pytest.mark.parametrize("limit", [None, -1, 7, 100])
def test_nothing_is_cut_within_the_limit(limit: int | None) -> None:
    cutter = TokenCutter(limit)
    assert through(cutter, ["One, ", "two", "  three. 中\n"]) == "One, two  three. 中\n"
    assert (cutter.count, cutter.cut) == (6, False)


@pytest.mark.parametrize(
    ("limit", "text"),
    [(1, "One"), (2, "One,"), (3, "One, two"), (4, "One, two\n\nthree"), (5, "One, two\n\nthree.")],
)
def test_the_first_tokens_remain_without_the_space_behind(limit: int, text: str) -> None:
    cutter = TokenCutter(limit)
    assert through(cutter, ["One, two\n\nthree. 中"]) == text
    assert (cutter.count, cutter.cut) == (limit, True)


def test_text_is_passed_on_at_once() -> None:
    cutter = TokenCutter(3)
    assert [cutter.feed(piece) for piece in ("One ", "two ", "three", " ", "more", "x")] == [
        "One ",
        "two ",
        "three",
        "",
        "",
        "",
    ]
    assert cutter.close() == ""


@given(TEXTS, CUTS, st.integers(min_value=0, max_value=20))
def test_cutting_does_not_depend_on_the_pieces(text: str, cuts: list[int], limit: int) -> None:
    whole, parted = TokenCutter(limit), TokenCutter(limit)
    assert through(whole, [text]) == through(parted, pieces_of(text, cuts))
    assert (whole.count, whole.cut) == (parted.count, parted.cut)
    assert whole.cut == (count_tokens(text) > limit)
    assert whole.count == min(limit, count_tokens(text))


@given(TEXTS, CUTS)
def test_without_a_limit_the_text_is_unchanged_and_counted(text: str, cuts: list[int]) -> None:
    cutter = TokenCutter(None)
    assert through(cutter, pieces_of(text, cuts)) == text
    assert cutter.count == count_tokens(text)


def test_a_stop_string_ends_the_text_and_stays_inside() -> None:
    flow = StopFilter(["END", "\n\n"])
    assert [flow.feed(piece) for piece in ("some E", "N", "Dings", "more")] == ["some ", "", "", ""]
    assert (flow.close(), flow.stopped) == ("", True)


def test_what_only_began_like_a_stop_string_comes_out() -> None:
    flow = StopFilter(["END"])
    assert [flow.feed(piece) for piece in ("an E", "N", "T EN")] == ["an ", "", "ENT "]
    assert (flow.close(), flow.stopped) == ("EN", False)


def test_the_stop_string_that_is_complete_first_counts() -> None:
    flow = StopFilter(["abcd", "bc"])
    assert through(flow, ["xabcd"]) == "xa"


def test_no_or_empty_stop_strings_change_nothing() -> None:
    assert through(StopFilter([]), ["a", "b"]) == "ab"
    assert through(StopFilter([""]), ["a", "b"]) == "ab"


@given(
    st.text(alphabet="abc", max_size=20),
    CUTS,
    st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3),
)
def test_stopping_does_not_depend_on_the_pieces(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    whole, parted = StopFilter(stops), StopFilter(stops)
    kept = through(whole, [text])
    assert through(parted, pieces_of(text, cuts)) == kept
    assert whole.stopped == parted.stopped == any(stop in text for stop in stops)
    assert text.startswith(kept)
