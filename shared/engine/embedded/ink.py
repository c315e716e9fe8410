"""Where on a page something is printed at all."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

PAPER_STEP: Final = 24
"""Ink differs from the paper's grey by more than this, of 255; JPEG's noise by less."""


def inked_box(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of all that is not paper; `None` when the page is blank.

    Single dark pixels count, so that no faint page number is ever left out; a speck in a corner
    makes the box larger than need be, and nothing worse.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    # A sixteenth of the pixels is enough to know the paper's grey.
    paper = float(np.median(grey[::4, ::4]))
    ink = cv2.absdiff(grey, paper)
    rows = np.flatnonzero(cv2.reduce(ink, 1, cv2.REDUCE_MAX).ravel() > PAPER_STEP)
    columns = np.flatnonzero(cv2.reduce(ink, 0, cv2.REDUCE_MAX).ravel() > PAPER_STEP)
    if not len(rows) or not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
