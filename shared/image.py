"""Pages as pixels: looking at an image's header, and decoding it into upright RGB.

Pure CPU work on bytes with Pillow; it reads no file, fetches nothing and never repairs a truncated
image.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final, cast

import msgspec
from PIL import Image, UnidentifiedImageError

from shared.errors import ImageTooLarge, UnsupportedImage
from shared.limits import MIB
from shared.ocr import Size

FORMATS: Final = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow's names of what is read. EPS and the like start other programs; they stay out."""

WHITE: Final = (255, 255, 255)

# Pillow's own guard warns at 89 million pixels and is one number for the whole process. Every size
# is checked here against the caller's bound before a pixel is decoded, so the guard is off.
Image.MAX_IMAGE_PIXELS = None

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the page upright."""

_ORIENTATION_TAG: Final = 0x0112

_BROKEN: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise over damaged files, by format and damage."""


class PageFacts(msgspec.Struct, frozen=True):
    """What an image's header tells."""

    format: str
    """Pillow's name in lower case: `jpeg`, `png`."""
    size: Size
    """Width and height after the EXIF turn."""


def inspect_page(data: bytes, *, bytes_max: int, pixels_max: int) -> PageFacts:
    """Read an image's header, and no more of it.

    Raises:
        ImageTooLarge: more bytes or pixels than allowed.
        UnsupportedImage: empty, not an image, or of a format that is not read.
    """
    if len(data) > bytes_max:
        raise ImageTooLarge(
            f"the image has {len(data) / MIB:.1f} MiB, at most {bytes_max / MIB:g} MiB are allowed"
        )
    with _opened(data, pixels_max) as image:
        width, height = image.size
        turned = image.format != "TIFF" and _orientation(image) >= 5
        name = "jpeg" if image.format == "MPO" else (image.format or "").lower()
        return PageFacts(format=name, size=(height, width) if turned else (width, height))


def decode_page(data: bytes, *, pixels_max: int, side_max: int | None = None) -> Image.Image:
    """Decode an image's first frame: RGB, EXIF turn done, transparency on white.

    With `side_max` the longer side may come back scaled down to it, which bounds the memory of
    what follows and lets a JPEG be decoded at a smaller scale in the first place.

    Raises:
        ImageTooLarge: more pixels than allowed.
        UnsupportedImage: not an image, or one that cannot be read to its end.
    """
    with _opened(data, pixels_max) as image:
        # Pillow turns a TIFF by itself while loading it; turning it again would undo that.
        turn = None if image.format == "TIFF" else _TURNS.get(_orientation(image))
        try:
            if side_max is not None:
                image.draft("RGB", (side_max, side_max))
            image.load()
            page = _shrunk(_flat(image), side_max)
        except _BROKEN as error:
            raise _damaged(error) from error
        return page if turn is None else page.transpose(turn)


@contextmanager
def _opened(data: bytes, pixels_max: int) -> Iterator[Image.Image]:
    if not data:
        raise UnsupportedImage("cannot identify image file: it is empty")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        head = data[:16].hex()
        raise UnsupportedImage("cannot identify image file", detail=f"head {head}") from error
    except _BROKEN as error:
        raise _damaged(error) from error
    with image:
        width, height = image.size
        if width * height > pixels_max:
            raise ImageTooLarge(
                f"the image has {width} x {height} pixels, "
                f"at most {pixels_max / 1_000_000:g} million are allowed"
            )
        yield image


def _damaged(error: Exception) -> UnsupportedImage:
    detail = f"{type(error).__name__}: {error}"
    return UnsupportedImage("cannot read image file: it is truncated or damaged", detail=detail)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none or it cannot be read."""
    try:
        # The base class's method: a PNG's own would decode the whole image to look behind it.
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except _BROKEN:
        return 1
    return value if isinstance(value, int) else 1


def _flat(image: Image.Image) -> Image.Image:
    """The image as RGB, transparent parts white, deep greys scaled instead of clipped."""
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        clear = image.convert("RGBA")
        page = Image.new("RGB", clear.size, WHITE)
        page.paste(clear, mask=clear.getchannel("A"))
        return page
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return _eight_bit(image).convert("RGB")
    # Converting RGB to RGB would copy it, 300 MB for the largest page.
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Deep grey to 8 bit. The white point is the smallest whole bit depth that holds the brightest
    pixel, since 10 and 12 bit scans come in 16 bit files."""
    grey = image if image.mode == "F" else image.convert("I")
    low, high = cast("tuple[float, float]", grey.getextrema())
    low = min(low, 0.0)
    span = high - low
    depth = 1.0 if span <= 1 else float((1 << max(8, int(span).bit_length())) - 1)
    scale = 255.0 / depth
    return grey.point(lambda value: value * scale - low * scale).convert("L")


def _shrunk(page: Image.Image, side_max: int | None) -> Image.Image:
    longest = max(page.size)
    if side_max is None or longest <= side_max:
        return page
    width, height = (max(1, round(side * side_max / longest)) for side in page.size)
    return page.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
