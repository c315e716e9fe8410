"""Running text from read lines: pieces of one printed line put together, lines joined to paragraphs
where they were wrapped, and left apart where somebody ended them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile
from statistics import median
from typing import Final

import msgspec

from shared.engine.embedded.bounds import foot, height, line_height, same_row, union, width
from shared.engine.embedded.lines import Bounds, Line
from shared.engine.embedded.words import HYPHENS, is_wide, join

SPARE_LETTERS: Final = 2.5
"""The space before a word, and what ragged lines leave free."""

CJK_ROOM: Final = 3.0
"""So many characters."""

INITIAL_RATIO: Final = 1.8
"""An initial is so much taller than the lines beside it."""

BREAKS_SHARE_MAX: Final = 0.34
"""In running text at most this share of the lines ends early; in addresses and verses most do."""

LONG_LINE_EM: Final = 18.0
"""Lines of this width are running text, however few there are."""


class Printed(msgspec.Struct, frozen=True):
    """A printed line: its pieces joined."""

    text: str
    box: Bounds
    tall: float
    """The height of its letters."""


def printed_lines(lines: Sequence[Line]) -> list[Printed]:
    """The lines as they are printed: pieces of one row are joined."""
    rows: list[list[Line]] = []
    for line in lines:
        if rows and _goes_on(rows[-1][-1], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [_printed(row) for row in rows]


def _goes_on(last: Line, line: Line) -> bool:
    upright = not last.span.vertical and not line.span.vertical
    right = line.span.box[0] > last.span.box[0]
    alike = line_height(last.span) < INITIAL_RATIO * line_height(line.span)
    return upright and right and alike and same_row(foot(last.span), foot(line.span))


def _printed(row: Sequence[Line]) -> Printed:
    text = " ".join(line.text.strip() for line in row)
    tall = max(line_height(line.span) for line in row)
    return Printed(text, union(line.span.box for line in row), tall)


def with_initial(printed: list[Printed]) -> list[Printed]:
    """A first letter much larger than the line after it belongs to that line's word."""
    if len(printed) < 2 or len(printed[0].text) != 1:
        return printed
    initial, first, *rest = printed
    if initial.tall < INITIAL_RATIO * first.tall:
        return printed
    joined = Printed(initial.text + first.text, union([initial.box, first.box]), first.tall)
    return [joined, *rest]


def paragraphs(
    printed: Sequence[Printed], between: str = "\n\n", *, room: float | None = None
) -> str:
    """Joined lines. A line that ends although the next word had room ends on purpose: the
    paragraph ends there, or in addresses and verses the line. Lines had room up to the longest
    one's end, or up to `room`."""
    if not printed:
        return ""
    right = max([each.box[2] for each in printed] + ([] if room is None else [room]))
    early = [ends_early(above, below, right) for above, below in pairwise(printed)]
    letters = median([width(each.box) / max(1.0, each.tall) for each in printed])
    running = sum(early) <= BREAKS_SHARE_MAX * len(early) or letters > LONG_LINE_EM
    if not running and 2 * sum(early) >= len(early):
        # Even the longest line of an address is one of its lines.
        early = [not _is_continued(above, below) for above, below in pairwise(printed)]
    text = printed[0].text
    for each, ended in zip(printed[1:], early, strict=True):
        if ended:
            text += (between if running else "\n") + each.text
        else:
            text = join(text, each.text)
    return text


def ends_early(above: Printed, below: Printed, right: float) -> bool:
    """The line above ends although the next line's first word had room: somebody ended it there."""
    if _is_continued(above, below):
        return False
    letter = width(below.box) / len(below.text)
    word = takewhile(lambda char: not char.isspace() and not is_wide(char), below.text)
    first = len("".join(word))
    # Chinese may end up to a few characters early, for the sake of its punctuation.
    needed = (first + SPARE_LETTERS) * letter if first else CJK_ROOM * letter
    return right - above.box[2] > needed


def _is_continued(above: Printed, below: Printed) -> bool:
    """A word was cut, or goes on in small letters; and of vertical text nothing can be said."""
    if height(above.box) > width(above.box) and len(above.text) > 1:
        return True
    return not above.text or below.text[:1].islower() or above.text[-1] in HYPHENS
