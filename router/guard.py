"""The runaway guard: sees that a stream repeats itself without end, and says what it repeats.

It looks for exact repetition only, right at the end of what has come: the same characters, line,
row, sentence or group of lines again and again. Rows that differ, be it in one digit, are honest.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

STEP_CHARS: Final = 128
"""A look every so many characters, at fixed places of the text: where the verdict falls does not
depend on how the text was cut into deltas, and a look costs the same for one character or 128."""

TAIL_CHARS: Final = 64
"""What must have come before for a repetition to be suspected; every bound below is far above."""

PERIODS_MAX: Final = 6
"""Periods tried in one look: cells repeat inside rows, rows inside groups of rows; few texts nest
deeper, and each costs a search."""

TAG: Final = re.compile(r"<[^<>\n]{0,200}>|&#?\w{1,8};")
"""Markup that a reader of the page would not see."""

WIDE_FROM: Final = "\u2e80"
"""Where the CJK blocks begin. One such character says as much as two Latin letters."""

UNIT_SHOWN_CHARS: Final = 40
"""As much of the repeated unit as a log line needs."""


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken for a runaway: at least `repeats_min` copies in a row, and one of the other
    bounds reached."""

    enabled: Annotated[
        bool, Meta(description="stop streams that repeat themselves without end")
    ] = True
    repeats_min: Annotated[
        int, Meta(ge=2, description="copies in a row below which nothing is a runaway")
    ] = 10
    """Invoices are printed in triplicate, coupons eight and cards ten to a sheet."""
    letters_min: Annotated[
        int, Meta(ge=1, description="letters and digits repeated in all, markup left out")
    ] = 2000
    """Half a densely printed page; a sheet of 30 address labels has 1,350, a column of 300 times
    `Yes` 900, 40 rows of 40 zeros 1,600."""
    repeats_max: Annotated[
        int, Meta(ge=2, description="copies in a row that are a runaway whatever is repeated")
    ] = 1000
    """Dots, underscores and empty cells: no line is 1,000 characters wide, and tables with hundreds
    of empty cells in a row exist."""
    chars_max: Annotated[
        int, Meta(ge=1, description="characters repeated in all, markup included")
    ] = 12_000
    """1,200 empty HTML cells in rows; 60 lines of 100 underscores are half of it."""
    window_chars: Annotated[
        int, Meta(ge=1024, le=262_144, description="how far back the guard remembers")
    ] = 16_384
    """Room for `chars_max`, and for ten copies of a unit of 1,600 characters."""

    def __post_init__(self) -> None:
        if self.window_chars < self.chars_max:
            raise ValueError(
                f"window_chars {self.window_chars} is less than chars_max {self.chars_max}:"
                " so long a repetition would never be seen"
            )


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """What is repeated, how often in a row, and after how many characters of the stream that was
    certain."""

    unit: str
    repeats: int
    end_chars: int

    def __str__(self) -> str:
        cut = "..." if len(self.unit) > UNIT_SHOWN_CHARS else ""
        return f"{self.unit[:UNIT_SHOWN_CHARS]!r}{cut} at least {self.repeats} times in a row"


class Guard:
    """Watches one stream. Cheap: a few searches in the window for every 128 characters."""

    def __init__(self, settings: GuardSettings) -> None:
        self.where: Repetition | None = None
        self._settings = settings
        self._fed_chars = 0
        self._coming: list[str] = []
        self._missing_chars = STEP_CHARS
        self._recent = ""
        """The window, newest character first: `str.find` is the search with the sure bound."""

    def feed(self, text: str) -> bool:
        """Take a piece of the stream; true from the moment the stream is a runaway."""
        if self.where is not None:
            return True
        if not self._settings.enabled:
            return False
        start = 0
        while len(text) - start >= self._missing_chars:
            end = start + self._missing_chars
            self._coming.append(text[start:end])
            self._look()
            if self.where is not None:
                return True
            start = end
        if start < len(text):
            self._coming.append(text[start:])
            self._missing_chars -= len(text) - start
        return False

    def _look(self) -> None:
        step = "".join(self._coming)
        self._coming.clear()
        self._missing_chars = STEP_CHARS
        self._fed_chars += STEP_CHARS
        self._recent = (step[::-1] + self._recent)[: self._settings.window_chars]
        found = find_repetition(self._recent, self._settings)
        if found is not None:
            unit, repeats = found
            self.where = Repetition(unit=unit, repeats=repeats, end_chars=self._fed_chars)


def find_repetition(recent: str, settings: GuardSettings) -> tuple[str, int] | None:
    """The unit and the number of its copies, if the text ends in a runaway; newest character first.

    A distance at which the newest characters have come before is a period of the text's end. The
    shortest is tried first; the next longer one must match further back than it did.
    """
    period = matched = 0
    needle = recent[:TAIL_CHARS]
    for _ in range(PERIODS_MAX):
        period = recent.find(needle, period + 1)
        if period < 0:
            return None
        matched = _matched_chars(recent, period, matched)
        repeats = matched // period + 1
        if repeats >= settings.repeats_min:
            unit = _turned(recent[:period][::-1])
            if _is_runaway(unit, repeats, settings):
                return unit, repeats
        if matched + period >= len(recent):
            return None
        needle = recent[: matched + 1]
    return None


def letters_of(unit: str) -> int:
    """How much a reader of the page would read in one copy: letters and digits, no markup."""
    seen = TAG.sub("", unit)
    return sum((2 if char >= WIDE_FROM else 1) for char in seen if char.isalnum())


def _is_runaway(unit: str, repeats: int, settings: GuardSettings) -> bool:
    return (
        repeats >= settings.repeats_max
        or repeats * len(unit) >= settings.chars_max
        or repeats * letters_of(unit) >= settings.letters_min
    )


def _matched_chars(recent: str, period: int, known: int) -> int:
    """How many characters, from the newest, equal the one `period` further back; `known` do."""
    low, high = known, len(recent) - period
    step = TAIL_CHARS
    while low < high:  # gallop first: most matches end soon
        reach = min(low + step, high)
        if recent[low:reach] != recent[low + period : reach + period]:
            high = reach - 1
            break
        low = reach
        step *= 2
    while low < high:
        middle = (low + high + 1) // 2
        if recent[low:middle] == recent[low + period : middle + period]:
            low = middle
        else:
            high = middle - 1
    return low


def _turned(unit: str) -> str:
    """The unit turned so that it begins where a reader would begin it, and cuts no tag in two."""
    for mark, skip in (("\n", 1), ("<", 0), ("&", 0), (" ", 1)):
        at = unit.rfind(mark)
        if at >= 0:
            return unit[at + skip :] + unit[: at + skip]
    return unit
