"""The fonts the pages are set in, found where Debian's packages put them. It ships no font and
substitutes none: a page whose font is missing is skipped, and the skip names the package."""

from __future__ import annotations

from enum import Enum
from functools import cache
from pathlib import Path

from PIL import ImageFont

ROOT = Path("/usr/share/fonts")


class FontMissing(Exception):
    """A font is not installed; the message names the Debian package that has it."""


class Face(Enum):
    """File below Debian's font folder, index inside a collection, package."""

    SANS = ("truetype/liberation/LiberationSans-Regular.ttf", 0, "fonts-liberation")
    SANS_BOLD = ("truetype/liberation/LiberationSans-Bold.ttf", 0, "fonts-liberation")
    SERIF = ("truetype/liberation/LiberationSerif-Regular.ttf", 0, "fonts-liberation")
    SERIF_BOLD = ("truetype/liberation/LiberationSerif-Bold.ttf", 0, "fonts-liberation")
    MONO = ("truetype/dejavu/DejaVuSansMono.ttf", 0, "fonts-dejavu-core")
    MONO_BOLD = ("truetype/dejavu/DejaVuSansMono-Bold.ttf", 0, "fonts-dejavu-core")
    DEJAVU = ("truetype/dejavu/DejaVuSans.ttf", 0, "fonts-dejavu-core")
    DEJAVU_BOLD = ("truetype/dejavu/DejaVuSans-Bold.ttf", 0, "fonts-dejavu-core")
    KOREAN = ("opentype/noto/NotoSansCJK-Regular.ttc", 1, "fonts-noto-cjk")
    KOREAN_BOLD = ("opentype/noto/NotoSansCJK-Bold.ttc", 1, "fonts-noto-cjk")
    CHINESE = ("opentype/noto/NotoSansCJK-Regular.ttc", 2, "fonts-noto-cjk")
    CHINESE_BOLD = ("opentype/noto/NotoSansCJK-Bold.ttc", 2, "fonts-noto-cjk")

    @property
    def package(self) -> str:
        return self.value[2]


@cache
def font(face: Face, size_px: int) -> ImageFont.FreeTypeFont:
    """A face at a size, laid out by Pillow's own engine so that every machine draws the same."""
    path, index, package = face.value
    try:
        return ImageFont.truetype(
            str(ROOT / path), size_px, index=index, layout_engine=ImageFont.Layout.BASIC
        )
    except OSError as error:
        raise FontMissing(f"needs the Debian package {package}") from error
