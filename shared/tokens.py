"""The embedded engine's tokens: one word, one CJK character or one punctuation mark each.

Counting, cutting a streamed text after so many tokens, and ending it at stop strings; it knows no
model's tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import regex

NO_LIMIT: Final = -1
"""`max_tokens` of clients that want no limit."""

_CJK: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}"
_TOKEN: Final = regex.compile(
    rf"[{_CJK}]"
    rf"|(?P<word>[[\p{{L}}\p{{M}}\p{{N}}_]--[{_CJK}]]+)"
    r"|[^\s\p{L}\p{M}\p{N}_]",
    regex.V1,
)
_SPACE_END: Final = regex.compile(r"\s*\Z")


def count_tokens(text: str) -> int:
    """How many tokens a text has."""
    return sum(1 for _ in _TOKEN.finditer(text))


class TokenCutter:
    """Passes a text through in pieces, up to the end of its first `max_tokens` tokens.

    What comes out does not depend on where the text was cut into pieces. White space behind the
    last allowed token is held back until it is known whether more follows.
    """

    def __init__(self, max_tokens: int | None) -> None:
        self._max = None if max_tokens is None or max_tokens == NO_LIMIT else max_tokens
        self._held = ""
        self._open = False
        """The text so far ends inside a token that the next piece may continue."""
        self.count = 0
        self.cut = False

    def feed(self, piece: str) -> str:
        """What of the text can be passed on now."""
        if self.cut or not piece:
            return ""
        for match in _TOKEN.finditer(piece):
            if self._open and match.start() == 0 and match["word"] is not None:
                continue
            if self.count == self._max:
                return self._end(piece[: match.start()])
            self.count += 1
        self._open = _ends_open(piece)
        if self.count != self._max:
            return self._pass(piece)
        kept = _SPACE_END.sub("", piece)
        passed = self._pass(kept) if kept else ""
        self._held += piece[len(kept) :]
        return passed

    def close(self) -> str:
        """What was held back, when the text ended before the limit."""
        return "" if self.cut else self._pass("")

    def _pass(self, piece: str) -> str:
        held, self._held = self._held, ""
        return held + piece

    def _end(self, piece: str) -> str:
        """The last piece: white space in front of the token that is one too many goes with it."""
        self.cut = True
        kept = _SPACE_END.sub("", piece)
        return self._pass(kept) if kept else ""


def _ends_open(piece: str) -> bool:
    last = _TOKEN.match(piece, len(piece) - 1)
    return last is not None and last["word"] is not None


class StopFilter:
    """Passes a text through in pieces, up to the first stop string.

    The stop string that is complete first ends the text, and no part of it comes out: the end of
    the text so far that may become one is held back.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(dict.fromkeys(stop for stop in stops if stop))
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """What of the text can be passed on now."""
        if self.stopped:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        keep = self._prefix_length(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        """What was held back, when no stop string came."""
        held, self._held = self._held, ""
        return held

    def _prefix_length(self, text: str) -> int:
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[len(text) - length :]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
