"""How close a reading is to the truth: characters, order, tables, boxes. Pure functions; none
forgives anything but white space."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from rapidfuzz.distance import Levenshtein

from shared.ocr import Box

Rows = tuple[tuple[str, ...], ...]

HAN = "\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef"
BETWEEN_HAN = re.compile(f"(?<=[{HAN}])\\s+(?=[{HAN}])")
"""Chinese and Japanese break a line anywhere and without a space: a break is no character."""

_MARKDOWN = MarkdownIt("commonmark").enable("table")


def flat(text: str) -> str:
    """One line: runs of white space are one space, and none stands between Han and kana."""
    return BETWEEN_HAN.sub("", " ".join(text.split()))


def character_error(truth: str, found: str) -> float:
    """Edits per character of the truth."""
    truth, found = flat(truth), flat(found)
    return Levenshtein.distance(truth, found) / max(1, len(truth))


def differences(truth: str, found: str, around: int = 12) -> str:
    """The edits with a little of what stands around them, for a failure's message."""
    truth, found = flat(truth), flat(found)
    shown = []
    for edit in Levenshtein.opcodes(truth, found):
        if edit.tag != "equal":
            was = truth[max(0, edit.src_start - around) : edit.src_end + around]
            now = found[max(0, edit.dest_start - around) : edit.dest_end + around]
            shown.append(f"{was!r} read as {now!r}")
    return "\n".join(shown[:40])


def in_order(phrases: Sequence[str], text: str) -> list[str]:
    """Those phrases that do not follow the one before them."""
    text, at, lost = flat(text), 0, []
    for phrase in map(flat, phrases):
        found = text.find(phrase, at)
        if found < 0:
            lost.append(phrase)
        else:
            at = found + len(phrase)
    return lost


# ---- Markdown and HTML


def markdown_parts(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each heading (`h1`...), paragraph (`p`), and list item (`ul`, `ol`)."""
    parts: list[tuple[str, str]] = []
    lists: list[str] = []
    kind = ""
    for token in _MARKDOWN.parse(text):
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                lists.append(token.tag)
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
            case "heading_open":
                kind = token.tag
            case "paragraph_open":
                kind = lists[-1] if lists else "p"
            case "inline" if kind:
                parts.append((kind, flat(token.content)))
                kind = ""
    return parts


def markdown_tables(text: str) -> list[Rows]:
    """Every pipe table as a Markdown parser sees it, the head first."""
    tables: list[list[list[str]]] = []
    cell = False
    for token in _MARKDOWN.parse(text):
        match token.type:
            case "table_open":
                tables.append([])
            case "tr_open":
                tables[-1].append([])
            case "th_open" | "td_open":
                cell = True
            case "inline" if cell:
                tables[-1][-1].append(flat(token.content))
                cell = False
    return [rows_of(table) for table in tables]


def html_tables(text: str) -> list[Rows]:
    """Every `<table>`; spans are not unfolded."""
    reader = _Tables()
    reader.feed(text)
    return [rows_of(table) for table in reader.tables]


def rows_of(table: Iterable[Iterable[str]]) -> Rows:
    return tuple(tuple(flat(cell) for cell in row) for row in table)


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        match tag:
            case "table":
                self.tables.append([])
            case "tr":
                self.tables[-1].append([])
            case "td" | "th":
                self.tables[-1][-1].append("")
                self._open = True
            case "br" if self._open:
                self.tables[-1][-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.tables[-1][-1][-1] += data


# ---- boxes


def area(box: Box) -> int:
    left, top, right, bottom = box
    return max(0, right - left) * max(0, bottom - top)


def shared_area(one: Box, other: Box) -> int:
    return area(
        (
            max(one[0], other[0]),
            max(one[1], other[1]),
            min(one[2], other[2]),
            min(one[3], other[3]),
        )
    )


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    both = shared_area(one, other)
    return both / max(1, area(one) + area(other) - both)


def covered(box: Box, by: Sequence[Box]) -> float:
    """The largest share of `box` that lies inside one of the others."""
    return max((shared_area(box, other) / max(1, area(box)) for other in by), default=0.0)


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds them all."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
