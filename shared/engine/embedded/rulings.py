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
JOIN_PX: Final = 4
"""Pieces of one line lie at most this far apart across it."""

Gray = NDArray[np.uint8]
Piece = tuple[float, float, float]
"""Start and end along the line, and its place across."""


def find_rulings(gray: Gray) -> Rulings:
    """The horizontal and vertical lines of a page given in grey."""
    ink = _ink(gray)
    length = max(LENGTH_MIN_PX, int(LENGTH_SHARE * max(gray.shape)))
    across = [(x1, y, x2) for x1, x2, y in _pieces(ink, length)]
    down = [(x, y1, y2) for y1, y2, x in _pieces(np.ascontiguousarray(ink.T), length)]
    return Rulings(horizontal=tuple(across), vertical=tuple(down))


def _ink(gray: Gray) -> Gray:
    """White on black where the page is darker than its surroundings."""
    around = cv2.blur(gray, (WINDOW_PX, WINDOW_PX))
    darker = cv2.subtract(around, gray)
    return np.where(darker > CONTRAST, np.uint8(255), np.uint8(0))


def _pieces(ink: Gray, length: int) -> list[Piece]:
    """Long thin runs along the rows of `ink`."""
    along = cv2.getStructuringElement(cv2.MORPH_RECT, (length // 2, 1))
    runs = cv2.morphologyEx(ink, cv2.MORPH_OPEN, along)
    _, _, stats, centres = cv2.connectedComponentsWithStats(runs, connectivity=8)
    found = [
        (float(x), float(x + wide), float(centre[1]))
        for (x, _, wide, high, _), centre in zip(stats[1:], centres[1:], strict=True)
        if high <= THICKNESS_MAX_PX and wide >= SLENDER * high
    ]
    return [piece for piece in _joined(found) if piece[1] - piece[0] >= length]


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
