"""Base64 pages: all that clients send, and what is refused."""

from __future__ import annotations

import base64
import textwrap
import tracemalloc
import urllib.parse

import hypothesis
import pytest
from hypothesis import strategies

from shared import base64s
from shared.errors import ImageTooLarge, UnsupportedImage
from shared.ocr import BytesPage, EncodedPage

DATA = bytes(range(256)) + b"\xfb\xff\xfe"
PLAIN = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("="),
        f"data:image/png;base64,{PLAIN}",
        f"DATA:image/jpg;base64,{PLAIN}",
        f"data:;base64,{PLAIN}",
        f"data:image/png;charset=x;base64,{PLAIN}",
        "\n".join(textwrap.wrap(PLAIN, 76)) + "\n",
        "\r\n".join(textwrap.wrap(PLAIN, 76)),
        f"  data:image/png;base64,{PLAIN}"[2:] + " \t",
        base64.urlsafe_b64encode(DATA).decode(),
        f"data:image/png;base64,{urllib.parse.quote(PLAIN, safe='')}",
        f"data:image/png;base64,{PLAIN.replace('/', '%2f').replace('+', '%2b')}",
    ],
)
def test_every_way_to_write_it_is_read(text: str):
    assert base64s.decode(text, bytes_max=1000) == DATA


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:image/png;base64,",
        "data:image/png;base64",
        "====",
        "!!!!",
        "AAAAA",
        "AA=A",
        "AAAA====BBBB",
        "é",
        "data:image/png;base64,%ff",
        "data:image/png;base64,...",
        "/path/to/image.jpg",
    ],
)
def test_what_is_not_base64_is_refused(text: str):
    with pytest.raises(UnsupportedImage):
        base64s.decode(text, bytes_max=1000)


def test_the_bound_is_exact():
    assert base64s.decode(PLAIN, bytes_max=len(DATA)) == DATA
    with pytest.raises(ImageTooLarge):
        base64s.decode(PLAIN, bytes_max=len(DATA) - 1)


def test_what_is_too_large_is_never_decoded():
    text = "A" * 8_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLarge):
            base64s.decode(text, bytes_max=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # Twice the text: as bytes, and without its white space.
    assert peak < 17_000_000


@hypothesis.given(strategies.binary(min_size=1, max_size=300))
def test_any_bytes_survive(data: bytes):
    assert base64s.decode(base64s.write(data), bytes_max=300) == data


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"BM\x00\x00", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
        (b"anything", "image/png"),
    ],
)
def test_a_data_url_names_what_the_bytes_are(head: bytes, name: str):
    data = head + bytes(50)
    expected = f"data:{name};base64,{base64.b64encode(data).decode()}"

    assert base64s.write_data_url(BytesPage(data)) == expected
    assert base64s.write_data_url(EncodedPage(base64.b64encode(data).decode())) == expected


def test_a_data_url_stays_as_it_is():
    page = EncodedPage("data:image/jpg;base64,iVBORw0KGgo=")

    assert base64s.write_data_url(page) == page.data


def test_base64_that_is_none_still_becomes_a_data_url_for_its_reader_to_refuse():
    assert base64s.write_data_url(EncodedPage("!!")) == "data:image/png;base64,!!"
