"""LightOnOCR now and then escapes the dollar signs around a formula. Puts right what is surely one,
line by line, and leaves prices, code and prose as they are.

The vendor's client does the same to whole answers (`postprocess/fix_escaped_dollars.py`).
"""

from __future__ import annotations

from typing import Final

import regex

AROUND: Final = 16
"""Characters before and after a formula that tell whether it is a price."""

_ESCAPED: Final = regex.compile(r"(?<!\\)\\\$")
_FENCE: Final = regex.compile(r"[ \t]*(?:`{3,}|~{3,})")
_CURRENCY: Final = regex.compile(r"(?<!\w)[A-Z]{1,3}\Z")
"""US$, HK$."""
_NUMERIC: Final = regex.compile(r"\s*[+\-−]?\s*(?:\d|[.,]\d)")
_COMMAND: Final = regex.compile(r"\\[A-Za-z]+(?:\{[^{}]*\})*")
_PROSE: Final = regex.compile(r"[^\W\d_]\w+\s+[^\W\d_]|[^\W\d_]\s+[^\W\d_]\w")
"""Words beside each other, one of them longer than a letter: no product of variables."""
_WORD: Final = regex.compile(r"[^\W\d_]{2,}")
_FOREIGN: Final = regex.compile(r"[$`]|<t[dh]|</")


class DollarFilter:
    """Passes a text through; a line with an escaped sign waits until it is whole."""

    def __init__(self) -> None:
        self._line = ""
        """What has been passed on of the line at hand."""
        self._held = ""
        self._code = False

    def feed(self, piece: str) -> str:
        *whole, last = (self._held + piece).split("\n")
        return "".join(self._whole(f"{part}\n") for part in whole) + self._open(last)

    def close(self) -> str:
        held, self._held = self._held, ""
        return self._whole(held) if held else ""

    def _whole(self, part: str) -> str:
        """The rest of a line."""
        self._held = ""
        line, self._line = self._line, ""
        if _FENCE.match(line + part):
            self._code = not self._code
        return part if self._code or "`" in line + part else line_repaired(part, line)

    def _open(self, part: str) -> str:
        """As much of a line as is sure before its end is there."""
        found = None if self._code else _ESCAPED.search(part)
        keep = len(part.rstrip("\\")) if found is None else found.start()
        self._held = part[keep:]
        self._line += part[:keep]
        return part[:keep]


def line_repaired(text: str, before: str = "") -> str:
    """A line (or its rest, after `before`) with the escaped signs around formulas plain."""
    marks = list(_ESCAPED.finditer(text))
    pieces: list[str] = []
    end = at = 0
    while at + 1 < len(marks):
        first, last = marks[at : at + 2]
        body = text[first.end() : last.start()]
        front = (before[-AROUND:] + text[: first.start()])[-AROUND:]
        if not _is_formula(body, front, text[last.end() : last.end() + AROUND]):
            at += 1
            continue
        pieces += (text[end : first.start()], "$", body, "$")
        end, at = last.end(), at + 2
    return "".join(pieces) + text[end:]


def _is_formula(body: str, before: str, after: str) -> bool:
    bare = body.strip()
    priced = _CURRENCY.search(before) or (_NUMERIC.match(body) and _NUMERIC.match(after))
    if not bare or priced or _FOREIGN.search(body) or _WORD.fullmatch(bare):
        return False
    balanced = regex.sub(r"\\.", "", bare)
    if balanced.count("{") != balanced.count("}"):
        return False
    return _PROSE.search(_COMMAND.sub(" ", bare)) is None
