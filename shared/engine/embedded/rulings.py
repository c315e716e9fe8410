"""Finds the long straight lines drawn on a page. Does not decide what is a table."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.engine.embedded.lines import Rulings

LENGTH_SHARE: Final = 0.025
"""Shortest line, as a share of the page's longer side: under the width of a small table cell and
over the strokes of letters in running text."""
LENGTH_MIN_PX: Final = 30
THICKNESS_MAX_PX: Final = 12
"""Thicker is a bar or a filled cell, whose edges are not lines."""
BRIDGE_PX: Final = 10
"""Gaps up to this length in a scanned line are closed."""
SLENDER: Final = 4
"""A line is at least this many times longer than thick."""
CONTRAST: Final = 14
"""How much darker than its surroundings (of 255) a pixel of a line is; grey hairlines are faint."""
WINDOW_PX: Final = 25
"""The surroundings: wider than a thick line, narrower than a cell."""
SIDES_PX: Final = (4, 8, 14)
"""How far beside a line the paper is looked for: another line or a word may be near."""
LINES_MAX: Final = 500
"""Most lines in one direction, the longest: more is a photograph, and grids are slow to find."""
JOIN_PX: Final = 4
"""Pieces of one line lie at most this far apart across it."""

Gray = NDArray[np.uint8]
Piece = tuple[float, float, float]
"""Start and end along the line, and its place across."""


def find_rulings(gray: Gray) -> Rulings:
    """The horizontal and vertical lines of a page given in grey."""
    length = max(LENGTH_MIN_PX, int(LENGTH_SHARE * max(gray.shape)))
    ink = _ink(gray)
    across = [(x1, y, x2) for x1, x2, y in _pieces(gray, ink, length)]
    turned, turned_ink = np.ascontiguousarray(gray.T), np.ascontiguousarray(ink.T)
    down = [(x, y1, y2) for y1, y2, x in _pieces(turned, turned_ink, length)]
    return Rulings(horizontal=tuple(across), vertical=tuple(down))


def _ink(gray: Gray) -> Gray:
    """White on black where the page is darker than its surroundings."""
    darker = cv2.subtract(cv2.blur(gray, (WINDOW_PX, WINDOW_PX)), gray)
    return np.asarray(cv2.inRange(darker, CONTRAST + 1, 255), dtype=np.uint8)


def _pieces(gray: Gray, ink: Gray, length: int) -> list[Piece]:
    """Long thin runs along the rows of `ink`."""
    along = cv2.getStructuringElement(cv2.MORPH_RECT, (length // 2, 1))
    runs = cv2.morphologyEx(ink, cv2.MORPH_OPEN, along)
    # Outlines take a tenth of the time that labelling the components takes.
    outlines, _ = cv2.findContours(runs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = [
        (float(x), float(x + wide), y + (high - 1) / 2)
        for x, y, wide, high in map(cv2.boundingRect, outlines)
        if high <= THICKNESS_MAX_PX
        and wide >= SLENDER * high
        and _has_paper(gray, (x, x + wide), (y, y + high))
    ]
    kept = [piece for piece in _joined(found) if piece[1] - piece[0] >= length]
    return sorted(kept, key=lambda piece: piece[0] - piece[1])[:LINES_MAX]


def _has_paper(gray: Gray, across: tuple[int, int], down: tuple[int, int]) -> bool:
    """Both sides of a run are brighter: it is a line and not the edge of something dark."""
    columns = slice(*across)
    line = float(gray[slice(*down), columns].mean())
    brightest = []
    for step in (-1, 1):
        edge = down[0] - 1 if step < 0 else down[1]
        rows = [edge + step * far for far in SIDES_PX]
        seen = [float(gray[row, columns].mean()) for row in rows if 0 <= row < gray.shape[0]]
        brightest.append(max(seen, default=255.0))
    return min(brightest) > line + CONTRAST / 2


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Collinear pieces that touch or overlap become one."""
    joined: list[Piece] = []
    for start, end, place in sorted(pieces, key=lambda piece: (round(piece[2]), piece[0])):
        for at, (low, high, other) in enumerate(joined):
            if abs(other - place) <= JOIN_PX and start <= high + BRIDGE_PX and end >= low:
                joined[at] = (min(low, start), max(high, end), (other + place) / 2)
                break
        else:
            joined.append((start, end, place))
    return joined
