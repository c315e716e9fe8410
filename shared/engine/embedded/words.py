"""Joins read lines into running text: spaces between words, none between Chinese or Japanese
characters, and words put together that a line's end cut."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

HYPHENS: Final = "-‐\u00ad"
"""Hyphen-minus, hyphen, soft hyphen: what ends a line in the middle of a word."""

STANDALONE: Final = frozenset(
    {"non", "self", "well", "cross", "half", "high", "long", "anti", "vice", "ultra"}
)
"""Parts that keep their hyphen before another word in English: "non-" + "governmental". Only what
hardly ever is the beginning of a longer word; "pre", "ex" or "part" are ("pre-" + "sented")."""

WIDE: Final = ("W", "F")
"""East Asian width classes of characters that take no spaces around them."""


def is_wide(char: str) -> bool:
    """A Chinese or Japanese character or its punctuation. Korean is written with spaces."""
    if unicodedata.east_asian_width(char) not in WIDE:
        return False
    return not "\uac00" <= char <= "\ud7a3"


def join_lines(texts: Sequence[str]) -> str:
    """One running text of lines that follow each other."""
    joined = ""
    for text in texts:
        joined = join(joined, text.strip())
    return joined


def join(before: str, after: str) -> str:
    """Two pieces of text that follow each other on different lines."""
    if not before or not after:
        return before or after
    if before[-1] in HYPHENS and len(before) > 1 and before[-2].isalpha():
        return _across_hyphen(before, after)
    if is_wide(before[-1]) or is_wide(after[0]):
        return before + after
    return f"{before} {after}"


def _across_hyphen(before: str, after: str) -> str:
    """A word the line's end cut loses its hyphen; a compound keeps it."""
    if before[-1] == "\u00ad":
        return before[:-1] + after
    head = before[:-1].rsplit(maxsplit=1)[-1].lstrip("([\"'“‘„«") if before[:-1].split() else ""
    kept = (
        not after[0].islower()
        or "-" in head
        or head.lower() in STANDALONE
        or not head[-1].islower()
    )
    return before + after if kept else before[:-1] + after
