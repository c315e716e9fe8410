"""The layout JSON of dots' models put right as it comes: every object that is whole is written
again, its box on the page as it was sent; damaged ones are mended, repeated ones left out.

What the vendor's cleaner does to a whole answer (missing commas, a last object cut short, objects
repeated, boxes of three numbers) is done here to one object at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import msgspec
import regex

from shared.layout import DotsWriter, read_dots
from shared.ocr import Block, Box

RUN_MAX: Final = 5
"""The same text in the same kind of cell so often in a row is a model that loops (the vendor's
number)."""

RUN_CHARACTERS_MIN: Final = 10
"""Shorter texts ("0", "Yes") may well stand in many cells one after another."""

Place = Callable[[Box], Box]

_STARTS: Final = regex.compile(r'(?=\{\s*"(?:bbox|category)")')
_BAD_ESCAPE: Final = regex.compile(
    r'\\(?:["\\/n]|[bfrt](?![a-z])|u[0-9a-fA-F]{4})(*SKIP)(*FAIL)|\\'
)
"""A backslash that escapes nothing: where one is, the model wrote LaTeX as it stands, and `\\frac`
is no form feed."""
_BBOX: Final = regex.compile(r'"bbox"\s*:\s*(\[[^\[\]]*\])')
_CATEGORY: Final = regex.compile(r'"category"\s*:\s*"([^"]*)"')
_TEXT: Final = regex.compile(r'"text"\s*:\s*"(.*)', regex.DOTALL)
_TAIL: Final = regex.compile(r'"?\s*\}?\s*,?\s*\]?\s*(?:`{3}\s*)?\Z')
_HALF_ESCAPE: Final = regex.compile(r"(?<!\\)(?:\\\\)*\K\\(?:u[0-9a-fA-F]{0,3})?\Z")


class CellFilter:
    """Passes the layout through, cell by cell. What is no layout passes as it is.

    Args:
        place: from the model's coordinates to the page's.
        texts: cells have texts.
    """

    def __init__(self, place: Place, *, texts: bool = True) -> None:
        self.cells: list[Block] = []
        self._place = place
        self._writer = DotsWriter(texts=texts)
        self._objects = _Objects()
        self._raw = ""
        """What has been read, as long as nothing of it was passed on."""
        self._words = False
        self._seen: set[Block] = set()
        self._run = 0

    def feed(self, piece: str) -> str:
        if self._words:
            return piece
        if not self.cells:
            self._raw += piece
            start = self._raw.lstrip()
            if start and start[0] not in "[{`":
                self._words = True
                return self._raw
        return "".join(self._written(text) for text in self._objects.feed(piece))

    def close(self) -> str:
        if self._words:
            return ""
        rest = "".join(self._written(text) for text in _STARTS.split(self._objects.close()))
        if self.cells or not self._raw.strip("[]{}` \njson"):
            return rest + self._writer.close()
        return self._raw

    def _written(self, text: str) -> str:
        placed = map(self._placed, read_cell(text))
        return "".join(self._writer.feed(cell) for cell in placed if self._new(cell))

    def _placed(self, cell: Block) -> Block:
        return msgspec.structs.replace(cell, box=self._place(cell.box))

    def _new(self, cell: Block) -> bool:
        last = self.cells[-1] if self.cells else None
        same = last is not None and (last.category, last.text) == (cell.category, cell.text)
        self._run = self._run + 1 if same else 1
        looping = self._run >= RUN_MAX and len(cell.text) >= RUN_CHARACTERS_MIN
        if cell in self._seen or looping:
            return False
        self._seen.add(cell)
        self.cells.append(cell)
        return True


def read_cell(text: str) -> tuple[Block, ...]:
    """The cell of one object's text, mended where it is damaged; all of an object around a list."""
    for attempt in (text, _BAD_ESCAPE.sub(r"\\\\", text)):
        if found := read_dots(attempt):
            return found
    return _salvaged(text)


def _salvaged(text: str) -> tuple[Block, ...]:
    """A cell out of an object that is no JSON: cut short, or with quotes inside its text."""
    bbox, category, words = _BBOX.search(text), _CATEGORY.search(text), _TEXT.search(text)
    if bbox is None:
        return ()
    said = "" if words is None else _TAIL.sub("", words[1])
    item = {"category": "" if category is None else category[1], "text": _unescaped(said)}
    whole = '{"bbox": ' + bbox[1] + ", " + json.dumps(item)[1:]
    return read_dots(whole)


def _unescaped(text: str) -> str:
    """What a damaged JSON string says."""
    text = _BAD_ESCAPE.sub(r"\\\\", _HALF_ESCAPE.sub("", text))
    quoted = regex.sub(r'\\.(*SKIP)(*FAIL)|"', r"\"", text, flags=regex.DOTALL)
    try:
        said = json.loads(f'"{quoted}"', strict=False)
    except ValueError:
        return text
    return said if isinstance(said, str) else text


class _Objects:
    """Finds the outermost objects of a text that comes in pieces."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def feed(self, piece: str) -> list[str]:
        """The objects that are whole now."""
        whole: list[str] = []
        for char in piece:
            if self._depth == 0 and char != "{":
                continue
            self._open.append(char)
            self._step(char)
            if self._depth == 0:
                whole.append("".join(self._open))
                self._open.clear()
        return whole

    def close(self) -> str:
        """What has begun and not ended."""
        rest = "".join(self._open)
        self._open.clear()
        self._depth = 0
        return rest

    def _step(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._quoted:
            self._escaped = char == "\\"
            self._quoted = char != '"'
        elif char == '"':
            self._quoted = True
        elif char in "{}":
            self._depth += 1 if char == "{" else -1
