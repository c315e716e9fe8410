"""Recognises what lines begin with: bullets and numbers of lists, and lines that are nothing but a
page number. Works on read lines; a list is written as a Markdown list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import regex

from shared.engine.embedded.prose import Printed
from shared.engine.embedded.words import join

BULLETS: Final = "•‣◦▪■●○◆►▶➤✓✔❖·∙"
"""Signs that hardly begin a line of anything but a list."""

_BULLET: Final = regex.compile(rf"(?:[{BULLETS}]\s*|[-–—*+]\s+)(?=\S)")
_NUMBER: Final = regex.compile(r"\(?(\d{1,3})[.)、]\s*(?=[^\s\d])")
_LETTER: Final = regex.compile(r"\(?([A-Za-z])[.)]\s+(?=\S)")
_PLAIN: Final = regex.compile(r"\[?(\d{1,3})\]?\s+(?=\p{Lu})")
"""The bare numbers of references."""

_PAGE_NUMBER: Final = regex.compile(
    r"[\s\-–—|/\[\]().·•]*(?:p(?:age|\.)?|seite|стр\.?|第)?\s*"
    r"(?:\d{1,5}|[ivxlcdm]{1,7})(?:\s*(?:/|of|von|de|из)\s*\d{1,5})?\s*(?:页|頁|페이지)?"
    r"[\s\-–—|/\[\]().·•]*",
    regex.IGNORECASE,
)


class Item(msgspec.Struct):
    """One item: its mark as Markdown writes it, and its text."""

    mark: str
    text: str


def is_page_number(text: str) -> bool:
    return _PAGE_NUMBER.fullmatch(text) is not None


def may_begin_list(text: str) -> bool:
    """The line begins with what could be an item's mark."""
    return any(mark.match(text) for mark in (_BULLET, _NUMBER, _LETTER, _PLAIN))


def list_start(printed: Sequence[Printed]) -> int:
    """Where a list begins below a line of introduction; 0 when none does."""
    for at, each in enumerate(printed):
        first = _NUMBER.match(each.text)
        if each.text[0] in BULLETS or (first is not None and first[1] == "1"):
            return at
    return 0


def as_list(printed: Sequence[Printed]) -> str | None:
    """The lines as a Markdown list, or `None` when they are not one."""
    texts = [each.text for each in printed]
    return _bulleted(texts) or _counted(texts, _NUMBER) or _counted(texts, _LETTER) or _plain(texts)


def _bulleted(texts: Sequence[str]) -> str | None:
    marks = [_BULLET.match(text) for text in texts]
    found = [mark for mark in marks if mark is not None]
    if not texts or marks[0] is None:
        return None
    # One dash may be speech or a minus; a bullet is a bullet.
    if len(found) < 2 and texts[0][0] not in BULLETS:
        return None
    items: list[Item] = []
    for text, mark in zip(texts, marks, strict=True):
        _take(items, text, "- " if mark else None, mark.end() if mark else 0)
    return _written(items)


def _counted(texts: Sequence[str], pattern: regex.Pattern[str]) -> str | None:
    """Lines whose numbers (or letters) count up from the first line on."""
    items: list[Item] = []
    last: str | None = None
    for text in texts:
        mark = pattern.match(text)
        counts = mark is not None and (last is None or _value(mark[1]) == _value(last) + 1)
        if last is None and not counts:
            return None
        if mark is not None and counts:
            last = mark[1]
            _take(items, text, _mark(mark), mark.end())
        else:
            _take(items, text, None, 0)
    return _written(items) if len(items) >= 2 else None


def _plain(texts: Sequence[str]) -> str | None:
    """Numbered references keep their bare numbers, an item a line."""
    written = _counted(texts, _PLAIN)
    return written if written is not None and written.count("\n") >= 1 else None


def _value(mark: str) -> int:
    return int(mark) if mark.isdigit() else ord(mark)


def _mark(mark: regex.Match[str]) -> str:
    sign = mark[0].strip()
    if mark[1].isdigit() and sign[-1] == ".":
        return f"{mark[1]}. "
    if mark[1].isdigit() and sign == f"{mark[1]})":
        return f"{sign} "
    return f"{sign} " if mark[1].isdigit() else f"- {sign} "


def _take(items: list[Item], text: str, mark: str | None, start: int) -> None:
    if mark is None:
        items[-1].text = join(items[-1].text, text)
    else:
        items.append(Item(mark, text[start:].strip()))


def _written(items: Sequence[Item]) -> str:
    return "\n".join(item.mark + item.text for item in items)
