"""Runs olmOCR-bench's checks on an answer: text present or absent, order, table cells, formulas.

The semantics are the bench's (github.com/allenai/olmocr, olmocr/bench): texts are compared without
Markdown's emphasis, with plain quotes and dashes, and within `max_diffs` edits. Formulas are
compared as text here, where the bench renders them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

SIMILAR_MIN = 0.5
"""The bench's lowest bound for cells, however short they are."""

PLAIN = str.maketrans("‘’‚“”„＿–—‑‒−µ", "'''\"\"\"_-----μ")
EMPHASIS = re.compile(r"(\*\*|__|\*|_)(.+?)\1")
BREAKS = re.compile(r"<br\s*/?>|</?[bi]>")
MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
RULE = re.compile(r"\|?\s*:?-{3,}:?\s*(\|\s*:?-{3,}:?\s*)*\|?")

Check = Mapping[str, Any]
Table = list[list[str]]
"""Rows of equally many cells; a merged cell is in each of its places."""


class Outcome(NamedTuple):
    id: str
    type: str
    passed: bool
    why: str
    """Empty when it passed."""

    def __bool__(self) -> bool:
        return self.passed


def run_checks(text: str, checks: Sequence[Check]) -> list[Outcome]:
    """One outcome for each check, in order."""
    tables = [*markdown_tables(text), *html_tables(text)]
    return [_run(check, text, tables) for check in checks]


def _run(check: Check, text: str, tables: Sequence[Table]) -> Outcome:
    match check["type"]:
        case "present" | "absent":
            why = _presence(check, text)
        case "order":
            why = _order(check, text)
        case "table":
            why = _cell(check, tables)
        case "math":
            why = _math(check, text)
        case other:
            why = f"unknown type {other!r}"
    return Outcome(str(check["id"]), str(check["type"]), not why, why)


def plain(text: str) -> str:
    """A text as it is compared."""
    text = BREAKS.sub(" ", text)
    text = EMPHASIS.sub(r"\2", text)
    text = re.sub(r"\s+", " ", text)
    return unicodedata.normalize("NFC", text).translate(PLAIN)


# ---- text


def _presence(check: Check, text: str) -> str:
    wanted, found = plain(check["text"]), plain(text)
    if not check.get("case_sensitive", True):
        wanted, found = wanted.lower(), found.lower()
    first, last = check.get("first_n"), check.get("last_n")
    if first or last:
        found = found[: first or 0] + (found[-last:] if last else "")
    diffs = check.get("max_diffs", 0)
    close = fuzz.partial_ratio(wanted, found) / 100 if len(found) >= len(wanted) - diffs else 0.0
    there = close >= 1 - diffs / max(1, len(wanted))
    if there == (check["type"] == "present"):
        return ""
    return f"{wanted[:60]!r} is {'there' if there else f'not there (best match {close:.3f})'}"


def _order(check: Check, text: str) -> str:
    found, diffs = plain(text), check.get("max_diffs", 0)
    before = _places(plain(check["before"]), found, diffs)
    after = _places(plain(check["after"]), found, diffs)
    for name, places in (("before", before), ("after", after)):
        if not places:
            return f"{name!r} is not there: {check[name][:60]!r}"
    if min(before) < max(after):
        return ""
    return f"{check['before'][:40]!r} comes after {check['after'][:40]!r}"


def _places(wanted: str, text: str, diffs: int) -> list[int]:
    """Where a text begins, found within so many edits."""
    exact = [match.start() for match in re.finditer(re.escape(wanted), text)]
    if exact or not diffs:
        return exact
    best = fuzz.partial_ratio_alignment(wanted, text)
    if best is None:
        return []
    piece = text[best.dest_start : best.dest_end]
    return [best.dest_start] if Levenshtein.distance(wanted, piece) <= 2 * diffs else []


def _math(check: Check, text: str) -> str:
    wanted = re.sub(r"\s+", "", check["math"])
    formulas = ["".join(filter(None, groups)) for groups in MATH.findall(text)]
    if any(wanted == re.sub(r"\s+", "", formula) for formula in formulas):
        return ""
    return f"no formula {check['math'][:60]!r}"


# ---- tables


def _cell(check: Check, tables: Sequence[Table]) -> str:
    if not tables:
        return "no table"
    reasons: list[str] = []
    for table in tables:
        for row, cells in enumerate(table):
            for column, cell in enumerate(cells):
                if _alike(check["cell"], cell, check):
                    missing = _unsatisfied(check, table, row, column)
                    if not missing:
                        return ""
                    reasons.append(missing)
    return reasons[0] if reasons else f"no cell {check['cell']!r}"


def _unsatisfied(check: Check, table: Table, row: int, column: int) -> str:
    for name, cells in _relations(table, row, column).items():
        wanted = check.get(name)
        if wanted and not any(_alike(wanted, cell, check) for cell in cells):
            return f"{name} of {check['cell']!r} is not {wanted!r} but {cells[:3]}"
    return ""


def _relations(table: Table, row: int, column: int) -> dict[str, list[str]]:
    """The neighbours in each direction, and all that stands above and to the left."""
    return {
        "up": [table[row - 1][column]] if row else [],
        "down": [table[row + 1][column]] if row + 1 < len(table) else [],
        "left": [table[row][column - 1]] if column else [],
        "right": [table[row][column + 1]] if column + 1 < len(table[row]) else [],
        "top_heading": [table[above][column] for above in range(row)],
        "left_heading": [table[row][left] for left in range(column)],
    }


def _alike(wanted: str, cell: str, check: Check) -> bool:
    least = max(SIMILAR_MIN, 1 - check.get("max_diffs", 0) / max(1, len(wanted)))
    return fuzz.ratio(plain(wanted).strip(), plain(cell).strip()) / 100 >= least


def markdown_tables(text: str) -> list[Table]:
    """Every pipe table in a text."""
    tables: list[Table] = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if at and "|" in line and RULE.fullmatch(line.strip()) and "|" in lines[at - 1]:
            rows = [lines[at - 1], *_body(lines[at + 1 :])]
            tables.append(_even([_cells(row) for row in rows]))
    return tables


def _body(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip().startswith("|"):
            return
        yield line


def _cells(line: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [part.strip().replace("\\|", "|") for part in parts]


def _even(table: Table) -> Table:
    wide = max(map(len, table), default=0)
    return [row + [""] * (wide - len(row)) for row in table]


def html_tables(text: str) -> list[Table]:
    """Every `<table>` in a text, with merged cells in each of their places."""
    reader = _Tables()
    reader.feed(text)
    return [_unfolded(rows) for rows in reader.tables]


class _Tables(HTMLParser):
    """Cells as text, rowspan, colspan."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[list[str], int, int]]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in {"td", "th"} and self.tables and self.tables[-1]:
            spans = dict(attrs)
            cell = ([""], int(spans.get("rowspan") or 1), int(spans.get("colspan") or 1))
            self.tables[-1][-1].append(cell)
            self._open = True
        elif tag == "br" and self._open:
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.tables[-1][-1][-1][0].append(data)


def _unfolded(rows: Sequence[Sequence[tuple[list[str], int, int]]]) -> Table:
    places: dict[tuple[int, int], str] = {}
    for row, cells in enumerate(rows):
        column = 0
        for parts, high, wide in cells:
            while (row, column) in places:
                column += 1
            for below in range(row, row + high):
                for beside in range(column, column + wide):
                    places[below, beside] = "".join(parts).strip()
            column += wide
    high = max((row for row, _ in places), default=-1) + 1
    wide = max((column for _, column in places), default=-1) + 1
    return [[places.get((row, column), "") for column in range(wide)] for row in range(high)]
