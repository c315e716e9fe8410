"""The size of a page, as a service told it or as the image's own header says: never a pixel."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Final

import imagesize

from shared import base64s
from shared.errors import OcrError
from shared.exchange import SIZE_HEADER
from shared.ocr import BytesPage, EncodedPage, Page, Size

SIZE: Final = re.compile(r"(\d{1,6})x(\d{1,6})")

PAGE_BYTES_MAX: Final = 1024 * 1024 * 1024
"""The body was bounded before; this decodes whatever came."""


def told_size(headers: Mapping[str, str]) -> Size | None:
    """The first page's size from a fleet service's answer."""
    found = SIZE.match(headers.get(SIZE_HEADER, ""))
    return None if found is None else (int(found[1]), int(found[2]))


def page_size(page: Page) -> Size | None:
    """The size in the image's header, after its EXIF turn. Decodes base64: call it in a thread."""
    try:
        match page:
            case EncodedPage(text):
                data = base64s.decode(text, bytes_max=PAGE_BYTES_MAX)
            case BytesPage(data):
                pass
            case _:
                return None
        width, height = imagesize.get(io.BytesIO(data), exif_rotation=True)
    except (OcrError, ValueError, OSError):
        return None
    return (width, height) if width > 0 and height > 0 else None
