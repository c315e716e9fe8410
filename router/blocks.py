"""Reads the layouts that models write, piece by piece as they come, into the hub's blocks. Pure.

Models damage their own format, so what is not readable as it should be is kept as well as it can:
no text of the page is dropped. Where its box is lost, the box is the page.
"""

from __future__ import annotations

import json
import re
from typing import Final, Protocol

from shared import layout
from shared.ocr import Block, Category, Size

# ---- dots: a JSON array of objects

_NEXT: Final = re.compile(r'(?=\{\s*"bbox")')
_BBOX: Final = re.compile(r'"bbox"\s*:\s*(\[[^\]]*\])')
_CATEGORY: Final = re.compile(r'"category"\s*:\s*"([^"]*)"')
_TEXT: Final = re.compile(r'"text"\s*:\s*"(.*)', re.DOTALL)
_TEXT_END: Final = re.compile(r'"\s*(?:\}[\s,\]`]*)?\Z')
_BARE_QUOTE: Final = re.compile(r'(?<!\\)((?:\\\\)*)"')

ESCAPE_CHARS_MAX: Final = 6
"""An escape such as \\u00e9 that was cut short is shorter than this."""


class BlockReader(Protocol):
    """`feed` takes pieces of a layout and gives the blocks that are whole, `close` the rest."""

    def feed(self, text: str) -> tuple[Block, ...]: ...

    def close(self) -> tuple[Block, ...]: ...


class DotsBlocks:
    """Reads dots' JSON array: a block as soon as its object is closed. After an object that is no
    block all is held back, for who knows where the next one really begins."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._text = ""
        self._at = 0
        self._depth = 0
        self._start = 0
        self._in_string = False
        self._escaped = False
        self._damaged = False

    def feed(self, text: str) -> tuple[Block, ...]:
        self._text += text
        blocks: list[Block] = []
        while not self._damaged and self._at < len(self._text):
            self._at += 1
            if self._step(self._text[self._at - 1], self._at - 1):
                found = layout.read_dots(self._text[self._start : self._at])
                self._damaged = not found
                if found:
                    blocks += found
                    self._start = self._at
        self._text, self._at = self._text[self._start :], self._at - self._start
        self._start = 0
        return tuple(blocks)

    def _step(self, char: str, at: int) -> bool:
        """One character further; true where it closes an outermost object."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == '"':
                self._in_string = False
        elif char == '"' and self._depth:
            self._in_string = True
        elif char == "{":
            if not self._depth:
                self._start = at
            self._depth += 1
        elif char == "}" and self._depth:
            self._depth -= 1
            return not self._depth
        return False

    def close(self) -> tuple[Block, ...]:
        """What an answer that was cut short or damaged still holds."""
        blocks: list[Block] = []
        for piece in _NEXT.split(self._text):
            found = layout.read_dots(piece)
            salvaged = None if found else _salvage(piece, self._size)
            blocks += found or (() if salvaged is None else (salvaged,))
        self._text = ""
        return tuple(blocks)


def _salvage(piece: str, size: Size) -> Block | None:
    """The block of an object that is no valid JSON, or has no box; none where it says nothing."""
    found = _TEXT.search(piece)
    if found is None:
        return None
    end = _TEXT_END.search(found[1])
    text = _unescaped(found[1] if end is None else found[1][: end.start()])
    if not text.strip():
        return None
    bbox, category = _BBOX.search(piece), _CATEGORY.search(piece)
    label = json.dumps(category[1] if category else "")
    for box in (bbox[1] if bbox else "", json.dumps([0, 0, *size])):
        for block in layout.read_dots(f'{{"bbox": {box}, "category": {label}}}'):
            return Block(block.category, block.box, text)
    return None


def _unescaped(text: str) -> str:
    """The text of a JSON string that may hold bare quotes, or end inside an escape."""
    quoted = _BARE_QUOTE.sub(r'\1\\"', text)
    for cut in range(ESCAPE_CHARS_MAX):
        try:
            read = json.loads(f'"{quoted[: len(quoted) - cut]}"', strict=False)
        except ValueError:
            continue
        return str(read)
    return text


# ---- deepseek: ref/det tags

REF: Final = "<|ref|>"
_LABELLED: Final = re.compile(r"<\|ref\|>(?P<label>[^\n]*?)<\|/ref\|>(?P<rest>.*)", re.DOTALL)
_DET: Final = re.compile(r"\s*<\|det\|>[\[\]\d\s,.]*(?:<\|/det\|>)?")
_TAGS: Final = re.compile(r"<\|/?(?:ref|det)\|>")


class GroundingBlocks:
    """Reads ref/det tags: a block when the next one begins."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._text = ""
        self._begun = False

    def feed(self, text: str) -> tuple[Block, ...]:
        self._text += text
        begun = self._text.rfind(REF)
        self._begun |= begun >= 0
        if begun <= 0:
            return ()
        whole, self._text = self._text[:begun], self._text[begun:]
        return tuple(block for piece in _pieces(whole) for block in self._read(piece))

    def close(self) -> tuple[Block, ...]:
        """The last block; none where no tag ever came, for that is no layout."""
        text, self._text = self._text, ""
        return self._read(text) if self._begun else ()

    def _read(self, piece: str) -> tuple[Block, ...]:
        """The blocks of one tag and its text, or of the text before the first tag."""
        found = layout.read_grounding(piece, self._size)
        if found:
            return found
        page = (0, 0, *self._size)
        if not piece.startswith(REF):
            said = layout.without_begun_tag(piece).strip()
            return (Block(Category.TEXT, page, said),) if said else ()
        labelled = _LABELLED.match(piece)
        if labelled is None:
            return ()
        rest = _DET.sub("", labelled["rest"], count=1)
        said = _TAGS.sub("", layout.without_begun_tag(rest)).strip()
        return (Block(layout.category_of(labelled["label"]), page, said),) if said else ()


def _pieces(text: str) -> list[str]:
    """A text cut before each tag."""
    return re.split(r"(?=<\|ref\|>)", text)
