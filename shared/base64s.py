"""Pages as base64 text and data URLs: decoding what clients really send, and writing it.

Decides nothing about what the bytes are; whether they are an image is asked elsewhere.
"""

from __future__ import annotations

import binascii
from typing import Final

import pybase64

from shared.errors import ImageTooLarge, UnsupportedImage
from shared.ocr import BytesPage, EncodedPage

WHITE_SPACE: Final = b" \t\r\n\v\f"

URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")

ESCAPES: Final = (("%2B", "+"), ("%2F", "/"), ("%3D", "="), ("%0D", ""), ("%0A", ""))
"""What a URL-encoding client does to base64. Undoing all escapes there are would cost a hostile
body's reader many times its size."""

SNIFF_CHARS: Final = 24
"""Enough base64 to hold the longest head below."""

HEADS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
"""How the files of the documented image types begin."""


def decode(data: str, *, bytes_max: int) -> bytes:
    """The bytes behind base64 text, with or without a `data:` head.

    Line breaks, the URL-safe alphabet and missing padding are taken as meant; anything else
    outside the alphabet is not.

    Raises:
        UnsupportedImage: it is not base64, or empty.
        ImageTooLarge: there are more than `bytes_max` bytes; said before any is decoded.
    """
    payload = _payload(data)
    if not payload:
        raise UnsupportedImage("the image is empty")
    if len(payload) * 3 // 4 > bytes_max:
        raise ImageTooLarge(f"the image is larger than {bytes_max} bytes")
    try:
        return pybase64.b64decode(payload + b"=" * (-len(payload) % 4), validate=True)
    except binascii.Error as error:
        raise UnsupportedImage("the image is not valid base64", detail=str(error)) from error


def write_data_url(page: EncodedPage | BytesPage) -> str:
    """A page as a data URL; one that is a data URL already goes as it is."""
    match page:
        case EncodedPage(data) if is_data_url(data):
            return data
        case EncodedPage(data):
            return f"data:{_encoded_media_type(data)};base64,{data}"
        case BytesPage(data):
            return f"data:{media_type(data)};base64,{write(data)}"


def write(data: bytes) -> str:
    """Bytes as base64 text on one line."""
    return pybase64.b64encode(data).decode("ascii")


def is_data_url(data: str) -> bool:
    """Whether `data` opens as a data URL; the scheme's case does not matter."""
    return data[:5].lower() == "data:"


def media_type(data: bytes) -> str:
    """The type the first bytes speak of; `image/png` when they say nothing, as servers sniff."""
    return next((name for head, name in HEADS if data.startswith(head)), "image/png")


def _payload(data: str) -> bytes:
    """The base64 alone: plain alphabet, no white space, no padding."""
    if is_data_url(data):
        _, comma, data = data.partition(",")
        if not comma:
            raise UnsupportedImage("the data URL has no comma")
        if "%" in data:
            for escape, letter in ESCAPES:
                data = data.replace(escape, letter).replace(escape.lower(), letter)
    try:
        payload = data.encode("ascii").translate(None, WHITE_SPACE)
    except UnicodeEncodeError as error:
        raise UnsupportedImage("the image is not valid base64", detail=str(error)) from error
    if b"-" in payload or b"_" in payload:
        payload = payload.translate(URL_SAFE)
    return payload.rstrip(b"=")


def _encoded_media_type(data: str) -> str:
    try:
        return media_type(decode(data[:SNIFF_CHARS], bytes_max=SNIFF_CHARS))
    except UnsupportedImage:
        return "image/png"
