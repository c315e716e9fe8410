"""A page as pixels, turned upright, and the way back from its coordinates to the page as sent.

Only arithmetic and array views; it decides nothing about how a page lies.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import msgspec
import numpy as np
from rapidocr.utils.process_img import get_rotate_crop_image

from shared.engine.embedded.lines import Bounds, Line, Point, Quad, Region, Span
from shared.engine.embedded.models import Pixels
from shared.errors import InvalidRequest
from shared.image import decode_page
from shared.ocr import Box, Size

PAGE_SIDE_MAX_PX: Final = 4000
"""Larger pages are reduced before anything else: a letter of 8 px on a page of that side is the
smallest that can be read, and four pages at work stay under 200 MB."""

TURN_RATIO: Final = 1.5
"""A crop this much taller than wide holds a line running down (RapidOCR's own number)."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """One upright page, or the part of it that was asked for.

    Coordinates of the sheet are pixels of the page as sent, after `turn` and relative to `corner`.
    """

    pixels: Pixels
    """The upright image, perhaps reduced."""
    scale: Point
    """Sheet units per image pixel, across and down."""
    sent: Size
    """The part's size before it was turned."""
    page: Size
    """The whole page's size as sent."""
    corner: tuple[int, int] = (0, 0)
    """Where the part begins on the page as sent."""
    turn: int = 0
    """How far the content had been turned clockwise on the page as sent: 0, 90, 180 or 270."""

    @property
    def size(self) -> Size:
        """The upright size."""
        width, height = self.sent
        return (height, width) if self.turn in {90, 270} else (width, height)


def open_sheet(data: bytes, size: Size, box: Box | None, pixels_max: int) -> Sheet:
    """Decode a page, or the part of it in `box`.

    Raises:
        InvalidRequest: the box lies outside of the page, or the page cannot be decoded.
    """
    image = decode_page(data, pixels_max=pixels_max, side_max=PAGE_SIDE_MAX_PX)
    scale = (size[0] / image.width, size[1] / image.height)
    pixels = np.asarray(image)
    corner, sent = (0, 0), size
    if box is not None:
        left, top, right, bottom = _inside(box, size)
        corner, sent = (left, top), (right - left, bottom - top)
        across = slice(int(left / scale[0]), max(int(left / scale[0]) + 1, round(right / scale[0])))
        down = slice(int(top / scale[1]), max(int(top / scale[1]) + 1, round(bottom / scale[1])))
        pixels = pixels[down, across]
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return Sheet(pixels=bgr, scale=scale, sent=sent, page=size, corner=corner)


def _inside(box: Box, size: Size) -> Box:
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    left, right = max(0, left), min(size[0], right)
    top, bottom = max(0, top), min(size[1], bottom)
    if left >= right or top >= bottom:
        raise InvalidRequest(
            f"the box {list(box)} lies outside of the page of {size[0]} x {size[1]} pixels"
        )
    return left, top, right, bottom


def turned(sheet: Sheet, degrees: int) -> Sheet:
    """The sheet with its content found to be turned clockwise by so much further."""
    if degrees % 360 == 0:
        return sheet
    pixels = np.ascontiguousarray(np.rot90(sheet.pixels, degrees // 90))
    across, down = sheet.scale
    return msgspec.structs.replace(
        sheet,
        pixels=pixels,
        scale=(down, across) if degrees % 180 else (across, down),
        turn=(sheet.turn + degrees) % 360,
    )


def spans_of(sheet: Sheet, quads: list[Quad]) -> tuple[Span, ...]:
    """Detected quads, in pixels of the sheet's image, as the sheet's spans."""
    usual = _usual_height(quads)
    return tuple(_span(sheet, index, quad, usual) for index, quad in enumerate(quads))


def regions_of(sheet: Sheet, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """The same for regions."""
    across, down = sheet.scale
    return tuple(
        Region(
            r.label,
            (r.box[0] * across, r.box[1] * down, r.box[2] * across, r.box[3] * down),
            r.score,
        )
        for r in regions
    )


def sides(quad: Quad) -> tuple[float, float]:
    """Width and height of a quad, along its own edges."""
    first, second, third, fourth = quad
    width = max(math.dist(first, second), math.dist(third, fourth))
    height = max(math.dist(first, fourth), math.dist(second, third))
    return width, height


def _usual_height(quads: list[Quad]) -> float:
    heights = [height for width, height in map(sides, quads) if width >= TURN_RATIO * height]
    return float(np.median(heights)) if heights else 0.0


def _span(sheet: Sheet, index: int, quad: Quad, usual_height: float) -> Span:
    width, height = sides(quad)
    # A single `1` or `l` is taller than wide too, but no taller than the lines around it.
    vertical = height >= TURN_RATIO * width and height > TURN_RATIO * usual_height
    across, down = sheet.scale
    points = tuple((x * across, y * down) for x, y in quad)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    box = (min(xs), min(ys), max(xs), max(ys))
    return Span(index, points, box, vertical)  # type: ignore[arg-type]


def crop(sheet: Sheet, span: Span, *, wider: Point = (0.0, 0.0)) -> Pixels:
    """The span's pixels, lying as a line is read, with so much more at its ends and above and
    below, in line heights."""
    across, down = sheet.scale
    quad = _widened(span, wider) if any(wider) else span.quad
    corners = np.array([(x / across, y / down) for x, y in quad], dtype=np.float32)
    pixels: Pixels = get_rotate_crop_image(sheet.pixels, corners)
    width, height = sides(span.quad)
    rotated = pixels.shape[0] < pixels.shape[1] and height >= TURN_RATIO * width
    if rotated and not span.vertical:
        pixels = np.rot90(pixels, -1)
    return pixels


def _widened(span: Span, wider: Point) -> Quad:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = span.quad
    along, across = sides(span.quad)
    tall = along if span.vertical else across
    ends, edges = reversed(wider) if span.vertical else wider
    to_end, to_edge = ends * tall / max(along, 1.0), edges * tall / max(across, 1.0)
    right, below = (bx - ax) * to_end, (dy - ay) * to_edge
    slope, lean = (by - ay) * to_end, (dx - ax) * to_edge
    return (
        (ax - right - lean, ay - slope - below),
        (bx + right - lean, by + slope - below),
        (cx + right + lean, cy + slope + below),
        (dx - right + lean, dy - slope + below),
    )


def place(sheet: Sheet, box: Bounds) -> Box:
    """A box of the sheet on the page as sent."""
    points = [_placed(sheet, (box[0], box[1])), _placed(sheet, (box[2], box[3]))]
    xs, ys = sorted(x for x, _ in points), sorted(y for _, y in points)
    width, height = sheet.page
    left, top = (
        max(0, min(round(low), most - 1)) for low, most in ((xs[0], width), (ys[0], height))
    )
    right, bottom = max(left + 1, min(round(xs[1]), width)), max(top + 1, min(round(ys[1]), height))
    return left, top, right, bottom


def place_line(sheet: Sheet, line: Line) -> Line:
    """A line with its span on the page as sent."""
    quad = tuple(_placed(sheet, point) for point in line.span.quad)
    box = tuple(float(value) for value in place(sheet, line.span.box))
    span = msgspec.structs.replace(line.span, quad=quad, box=box)
    return msgspec.structs.replace(line, span=span)


def _placed(sheet: Sheet, point: Point) -> Point:
    (x, y), (width, height) = point, sheet.sent
    match sheet.turn:
        case 90:
            x, y = width - y, x
        case 180:
            x, y = width - x, height - y
        case 270:
            x, y = y, height - x
    return x + sheet.corner[0], y + sheet.corner[1]
