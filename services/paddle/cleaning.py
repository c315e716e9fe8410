"""What PaddleOCR-VL's pipeline does to the model's words before they are a page's: cuts off
repetition, writes formulas with dollar signs.

Source: the vendor's `paddleocr_vl/{pipeline,uilts}.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

REPEATS_FROM: Final = 50
TABLE_REPEATS_FROM: Final = 5000
"""Shorter answers are left alone."""

LINES_MIN: Final = 10
SAME_LINES: Final = 0.8
"""Ten lines of which so many are the same one are that one."""

UNIT_MIN: Final = 8
UNITS_MIN: Final = 5
LINE_CHARACTERS_MIN: Final = 100
"""A long line that ends with five times the same eight characters, or more of them."""

REPEATED_SHARE: Final = 0.5

WHOLE_UNITS_MIN: Final = 10


def without_repetition(text: str, *, characters_min: int = REPEATS_FROM) -> str:
    """The text without what a looping model added to it."""
    bare = text.strip()
    if len(text) < characters_min or not bare:
        return text
    if "\n" in bare:
        return _lines_once(text)
    return _ending_cut(bare) or _unit_of(bare) or text


def _ending_cut(line: str) -> str | None:
    """The line before an ending that repeats itself over half of it."""
    if len(line) <= LINE_CHARACTERS_MIN:
        return None
    for length in range(len(line) // UNITS_MIN, UNIT_MIN - 1, -1):
        unit = line[-length:]
        if not line.endswith(unit * UNITS_MIN):
            continue
        start = len(line)
        while line.endswith(unit, 0, start):
            start -= length
        if len(line) - start > REPEATED_SHARE * len(line):
            return line[:start] or unit[: _period(unit)]
        return None
    return None


def _unit_of(line: str) -> str | None:
    """What the whole line is made of, when it is ten times the same."""
    length = _period(line)
    return line[:length] if len(line) // length >= WHOLE_UNITS_MIN else None


def _period(line: str) -> int:
    """The length of the shortest piece that makes up the line by repeating itself."""
    return (line + line).find(line, 1)


def _lines_once(text: str) -> str:
    lines = [line for each in text.split("\n") if (line := each.strip())]
    line, count = Counter(lines).most_common(1)[0]
    looping = count >= LINES_MIN and count >= SAME_LINES * len(lines)
    return line if looping else text


def with_dollars(text: str) -> str:
    r"""The text with dollar signs for `\(..\)` and `\[..\]`, and no others beside them."""
    inline = "\\(" in text and "\\)" in text
    if not inline and not ("\\[" in text and "\\]" in text):
        return text
    for sign, written in (
        ("$", ""),
        ("\\(", " $ "),
        ("\\)", " $"),
        ("\\[\\[", "\\["),
        ("\\]\\]", "\\]"),
        ("\\[", " $$ "),
        ("\\]", " $$ "),
    ):
        text = text.replace(sign, written)
    return text


def as_formula(text: str) -> str:
    """A formula on its own."""
    bare = with_dollars(text).strip().strip("$").strip()
    return f"$$\n{bare}\n$$" if bare else ""


def as_paragraphs(text: str) -> str:
    """Each line of the model's a paragraph."""
    return "\n\n".join(line for each in text.split("\n") if (line := each.strip()))


def as_heading(text: str, level: int) -> str:
    """A heading in one line; a word parted at a line's end is whole again."""
    line = " ".join(text.replace("-\n", "").split())
    return f"{'#' * level} {line}" if line else ""
