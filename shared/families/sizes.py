"""How large a page is when a model sees it: the vendors' arithmetic, and the resizing they ask for.

Sizes are (width, height) in pixels. Nothing here is enlarged unless a family asks for it.
"""

from __future__ import annotations

import math

from PIL.Image import Image, Resampling
from PIL.Image import new as new_image

from shared.ocr import Box, Size

RATIO_MAX = 200
"""Qwen's, dots' and PaddleOCR-VL's processors refuse images whose sides differ by more."""

WHITE = (255, 255, 255)


def fitted(size: Size, edge_max: int) -> Size:
    """The size with its longer side at most `edge_max`; never larger than it was."""
    scale = edge_max / max(size)
    if scale >= 1:
        return size
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def bounded(size: Size, pixels_max: int) -> Size:
    """The size with at most so many pixels; never larger than it was."""
    scale = math.sqrt(pixels_max / (size[0] * size[1]))
    if scale >= 1:
        return size
    width, height = (max(1, math.floor(side * scale)) for side in size)
    return width, height


def smart_size(size: Size, *, factor: int, pixels_min: int, pixels_max: int) -> Size:
    """The size with both sides a multiple of `factor` and its pixels within bounds, the ratio kept
    as far as that allows.

    Qwen2-VL's arithmetic with dots.ocr's order of steps. Python's rounding (half to even) is part
    of it.
    """
    width, height = size
    wide, high = (max(factor, round(side / factor) * factor) for side in size)
    if wide * high > pixels_max:
        scale = math.sqrt(width * height / pixels_max)
        wide, high = (max(factor, math.floor(side / scale / factor) * factor) for side in size)
    elif wide * high < pixels_min:
        scale = math.sqrt(pixels_min / (width * height))
        wide, high = (math.ceil(side * scale / factor) * factor for side in size)
        if wide * high > pixels_max:
            scale = math.sqrt(wide * high / pixels_max)
            wide, high = (
                max(factor, math.floor(side / scale / factor) * factor) for side in (wide, high)
            )
    return wide, high


def resized(page: Image, size: Size, filter: Resampling) -> Image:  # noqa: A002 - Pillow's word
    """The page at that size; the page itself where it has it already."""
    return page if page.size == size else page.resize(size, filter)


def within_ratio(page: Image, ratio_max: int = RATIO_MAX) -> Image:
    """The page, with white added at its right or its foot where it is too long and thin.

    What stands on it keeps its place, so boxes stay true.
    """
    width, height = page.size
    least = math.ceil(max(page.size) / ratio_max)
    if min(page.size) >= least:
        return page
    wider = new_image("RGB", (max(width, least), max(height, least)), WHITE)
    wider.paste(page, (0, 0))
    return wider


def clipped(box: tuple[float, float, float, float], size: Size) -> Box:
    """A box in whole pixels of the page, none of it outside."""
    left, top, right, bottom = (
        min(side, max(0, round(place)))
        for place, side in zip(box, (size[0], size[1], size[0], size[1]), strict=True)
    )
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def scaled(box: tuple[float, float, float, float], of: Size, to: Size) -> Box:
    """A box of an image of size `of`, on the same image at size `to`."""
    across, down = to[0] / of[0], to[1] / of[1]
    left, top, right, bottom = box
    return clipped((left * across, top * down, right * across, bottom * down), to)
