"""Labels and values of a form: side by side, one below the other, in one line, and check boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import regex

from shared.engine.embedded.bounds import line_height, overlap_x
from shared.engine.embedded.lines import Line

Row = list[Line]

COLONS: Final = ":："
LABEL_CHARACTERS_MAX: Final = 80
"""A label is no sentence."""
BELOW_MAX_EM: Final = 1.5
FILL: Final = "_.… "
"""What empty fields are drawn with."""
CHECKED: Final = "checked"
UNCHECKED: Final = "unchecked"

_BOX: Final = regex.compile(
    r"(?P<on>[☑☒✓✔✗✘■]|\[\s*[xX✓✔√]\s*\]|\([xX✓✔√]\))|(?P<off>[☐□◻▢○]|\[\s*\]|\(\s*\)|口(?=\s))"
)
"""A check box as recognisers write it."""


def read_form(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """All pairs of label and value, in reading order. A label with nothing beside it has none."""
    pairs: list[tuple[str, str]] = []
    used: set[int] = set()
    for at, row in enumerate(rows):
        plain = _pair_of_row(row, rows)
        for index, line in enumerate(row):
            if id(line) in used:
                continue
            boxes = _boxes(line.text)
            if boxes:
                pairs += boxes
            elif _has_label(line.text):
                pairs.append(_labelled(row, index, rows[at + 1 : at + 2], used))
            elif plain and index == 0:
                used.add(id(row[1]))
                pairs.append((line.text.strip(), _value(row[1].text)))
    return pairs


def _boxes(text: str) -> list[tuple[str, str]]:
    """Each box with the words after it: `☒ Single ☐ Married` is two fields."""
    marks = list(_BOX.finditer(text))
    pairs = []
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        label = text[mark.end() : end].strip()
        if label:
            pairs.append((label, CHECKED if mark["on"] else UNCHECKED))
    if len(marks) == 1 and not pairs and (before := text[: marks[0].start()].strip(" :：")):
        pairs.append((before, CHECKED if marks[0]["on"] else UNCHECKED))
    return pairs


def _has_label(text: str) -> bool:
    label = _split(text)[0]
    return 0 < len(label) <= LABEL_CHARACTERS_MAX and any(char.isalpha() for char in label)


def _split(text: str) -> tuple[str, str]:
    """The text before and after its first colon that is not within a number or an address."""
    for at, char in enumerate(text):
        inside = text[at + 1 : at + 2]
        clock = char == ":" and (inside.isdigit() and text[at - 1 : at].isdigit())
        if char in COLONS and not clock and not text[at:].startswith("://"):
            return text[:at].strip(), text[at + 1 :]
    return "", text


def _labelled(row: Row, index: int, below: Sequence[Row], used: set[int]) -> tuple[str, str]:
    label, rest = _split(row[index].text)
    if value := _value(rest):
        return label, _with_right(value, row, index, used)
    if index + 1 < len(row):
        other = row[index + 1]
        if not _has_label(other.text):
            used.add(id(other))
            return label, _with_right(_value(other.text), row, index + 1, used)
    found = _under(row[index], below)
    if found is None:
        return label, ""
    used.add(id(found))
    return label, _value(found.text)


def _with_right(value: str, row: Row, index: int, used: set[int]) -> str:
    """A value that detection parted: its pieces follow closely."""
    for last, line in zip(row[index:], row[index + 1 :], strict=False):
        near = line.span.box[0] - last.span.box[2] < 1.5 * line_height(last.span)
        if not near or _has_label(line.text) or _BOX.search(line.text):
            break
        used.add(id(line))
        value = f"{value} {_value(line.text)}".strip()
    return value


def _under(line: Line, below: Sequence[Row]) -> Line | None:
    for row in below:
        for other in row:
            gap = other.span.box[1] - line.span.box[3]
            near = gap < BELOW_MAX_EM * line_height(line.span)
            starts = abs(other.span.box[0] - line.span.box[0]) < 2 * line_height(line.span)
            if near and starts and overlap_x(line.span.box, other.span.box) > 0:
                return other if not _has_label(other.text) and not _boxes(other.text) else None
    return None


def _value(text: str) -> str:
    return text.strip().strip(FILL) if set(text.strip()) <= set(FILL) else text.strip(" _")


def _pair_of_row(row: Row, rows: Sequence[Row]) -> bool:
    """Two pieces in a row, as in other rows: label and value without a colon."""
    if len(row) != 2 or any(_has_label(line.text) or _boxes(line.text) for line in row):
        return False
    near = 2 * line_height(row[0].span)
    return any(
        other is not row
        and len(other) == 2
        and all(abs(a.span.box[0] - b.span.box[0]) < near for a, b in zip(row, other, strict=True))
        for other in rows
    )
