"""Pages as files: what is looked at, what is refused and how soon, what the pixels become."""

from __future__ import annotations

import io
import struct
import time
import zlib

import pytest
from PIL import Image

from shared.errors import ImageTooLarge, UnsupportedImage
from shared.image import PageFacts, decode_page, inspect_page

MIB = 1024 * 1024
PIXELS = 100_000_000
SOON_S = 1.0

TURNED = 6
"""EXIF: the camera was held on its side; 60 x 40 becomes 40 x 60."""


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def sample() -> Image.Image:
    """60 x 40, red on the left and blue on the right."""
    image = Image.new("RGB", (60, 40), (200, 30, 30))
    image.paste((30, 30, 200), (30, 0, 60, 40))
    return image


def inspect(data: bytes) -> PageFacts:
    return inspect_page(data, bytes_max=10 * MIB, pixels_max=PIXELS)


def colour(page: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = page.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def decode(data: bytes) -> Image.Image:
    return decode_page(data, pixels_max=PIXELS)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_formats_are_told_and_decoded(form: str) -> None:
    data = encoded(sample(), form)
    facts = inspect(data)
    assert (facts.format, facts.size) == (form.lower(), (60, 40))
    page = decode(data)
    assert (page.mode, page.size) == ("RGB", (60, 40))
    assert colour(page, 5, 20)[0] > 150
    assert colour(page, 55, 20)[2] > 150


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_turn_is_done_once(form: str) -> None:
    data = encoded(sample(), form, exif=exif(TURNED))
    assert inspect(data).size == (40, 60)
    page = decode(data)
    assert page.size == (40, 60)
    # Turned clockwise, the left side is on top.
    assert colour(page, 20, 5)[0] > 150
    assert colour(page, 20, 55)[2] > 150


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_size_that_was_told(orientation: int) -> None:
    data = encoded(sample(), "JPEG", exif=exif(orientation))
    assert decode(data).size == inspect(data).size == ((40, 60) if orientation > 4 else (60, 40))


@pytest.mark.filterwarnings("ignore:.*orrupt EXIF data")
def test_broken_exif_does_not_matter() -> None:
    data = encoded(sample(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    assert inspect(data).size == decode(data).size == (60, 40)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"%PDF-1.7 " * 9,
        b"<svg/>",
        b"\x89PNG\r\n\x1a\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ],
)
def test_what_is_no_image_cannot_be_identified(data: bytes) -> None:
    for look in (inspect, decode):
        with pytest.raises(UnsupportedImage, match="cannot identify image file"):
            look(data)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(form: str, share: float) -> None:
    data = encoded(Image.effect_noise((90, 70), 90).convert("RGB"), form)
    with pytest.raises(UnsupportedImage, match=r"truncated or damaged|cannot identify"):
        decode(data[: int(len(data) * share)])


def test_damage_inside_a_png_is_refused() -> None:
    data = bytearray(encoded(Image.effect_noise((90, 70), 90), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnsupportedImage):
        decode(bytes(data))


def test_bombs_are_refused_soon() -> None:
    started = time.monotonic()
    for look in (inspect, decode):
        with pytest.raises(ImageTooLarge, match="50000 x 50000"):
            look(png_of(50_000, 50_000))
        with pytest.raises(ImageTooLarge, match="100 million"):
            look(png_of(10_001, 10_000))
    assert time.monotonic() - started < SOON_S


def test_the_largest_page_allowed_is_no_bomb() -> None:
    """Pillow alone would warn from 89 million pixels on."""
    assert inspect(png_of(10_000, 10_000)).size == (10_000, 10_000)
    with pytest.raises(UnsupportedImage, match="truncated"):
        decode(png_of(10_000, 10_000))


def test_too_many_bytes_are_refused_whatever_they_are() -> None:
    with pytest.raises(ImageTooLarge, match="at most 10 MiB"):
        inspect(bytes(11 * MIB))
    assert inspect_page(encoded(sample(), "PNG"), bytes_max=MIB, pixels_max=PIXELS).size == (60, 40)


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused_soon() -> None:
    bomb = chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(200 * MIB), 9))
    data = png_of(10, 10)
    started = time.monotonic()
    with pytest.raises(UnsupportedImage):
        decode(data[:33] + bomb + data[33:])
    assert time.monotonic() - started < 5 * SOON_S


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), {}),
        (Image.new("LA", (4, 4), (0, 0)), {}),
        (Image.new("P", (4, 4), 0), {"transparency": 0}),
        (Image.new("L", (4, 4), 0), {"transparency": 0}),
        (Image.new("RGB", (4, 4), (0, 0, 0)), {"transparency": (0, 0, 0)}),
    ],
    ids=["RGBA", "LA", "palette", "grey key", "colour key"],
)
def test_what_is_transparent_is_white(image: Image.Image, options: dict) -> None:
    assert decode(encoded(image, "PNG", **options)).getpixel((1, 1)) == (255, 255, 255)


def test_half_transparent_black_is_grey() -> None:
    page = decode(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))
    assert colour(page, 0, 0)[0] in range(125, 130)


@pytest.mark.parametrize(("white", "grey"), [(65535, 32768), (4095, 2048), (1023, 512)])
def test_deep_grey_is_scaled_not_clipped(white: int, grey: int) -> None:
    image = Image.new("I;16", (3, 1), 0)
    image.putpixel((1, 0), grey)
    image.putpixel((2, 0), white)
    page = decode(encoded(image, "PNG"))
    black, middle, bright = (colour(page, x, 0)[0] for x in range(3))
    assert (black, bright) == (0, 255)
    assert middle in range(126, 130)


def test_floating_point_grey_is_scaled() -> None:
    image = Image.new("F", (2, 1), 0.5)
    image.putpixel((1, 0), 1.0)
    page = decode(encoded(image, "TIFF"))
    assert page.getpixel((1, 0)) == (255, 255, 255)
    assert colour(page, 0, 0)[0] in range(126, 130)


def test_print_colours_and_bitmaps_become_rgb() -> None:
    assert decode(encoded(Image.new("CMYK", (8, 8)), "JPEG")).getpixel((0, 0)) == (255, 255, 255)
    fax = encoded(Image.new("1", (8, 8), 1), "TIFF", compression="group4")
    assert decode(fax).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("form", ["GIF", "TIFF"])
def test_the_first_frame_is_the_page(form: str) -> None:
    second = Image.new("RGB", (60, 40), (0, 255, 0))
    data = encoded(sample(), form, save_all=True, append_images=[second])
    assert colour(decode(data), 5, 20)[0] > 150


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_side_bound_shrinks_the_page_in_proportion(form: str) -> None:
    data = encoded(Image.new("RGB", (3000, 1000), "white"), form)
    assert decode_page(data, pixels_max=PIXELS, side_max=600).size == (600, 200)
    assert decode_page(data, pixels_max=PIXELS, side_max=3000).size == (3000, 1000)
