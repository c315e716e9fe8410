"""DeepSeek-OCR's resolutions: Tiny, Small, Base, Large show the page once at one size, Gundam shows
it whole and in tiles. What an engine cannot do is refused, never done otherwise in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from shared.errors import InvalidRequest
from shared.ocr import Sampling, Size

BASE_PX: Final = 1024
"""The side of the whole view in Gundam."""

DOCUMENTED_TILE_PX: Final = 640
"""The tile of the documented model, and the setting's default for every checkpoint."""

ONE_VIEW: Final[Mapping[int, str]] = {512: "Tiny", 640: "Small", 1024: "Base", 1280: "Large"}
"""Modes without tiles, by their `image_size`."""


class Tiling(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint and its engine can do."""

    tile_px: int = DOCUMENTED_TILE_PX
    untiled: bool = False
    """The engine's processor can show the page once, at the size of a tile. vLLM's cannot: its
    sizes are constants."""


def check_mode(sampling: Sampling, tiling: Tiling, size: Size) -> Mapping[str, object]:
    """What to tell the image processor so that the page is shown as asked.

    Raises:
        InvalidRequest: the values are no mode, or one that the engine cannot do.
    """
    crop = True if sampling.crop_mode is None else sampling.crop_mode
    base = BASE_PX if sampling.base_size is None else sampling.base_size
    tile = tiling.tile_px if sampling.image_size is None else sampling.image_size
    own = tile in {tiling.tile_px, DOCUMENTED_TILE_PX}
    if crop and base == BASE_PX and own:
        return {}
    if not crop and tiling.untiled and own:
        return {"crop_to_patches": False}
    # Without tiles Gundam is Base, and a page no larger than a tile gets none.
    if not crop and tile == BASE_PX and max(size) <= tiling.tile_px:
        return {}
    asked = f"crop_mode {str(crop).lower()}, base_size {base}, image_size {tile}"
    name = _name(crop=crop, tile=tile)
    raise InvalidRequest(
        f"{asked} ({name}) cannot be served: this engine reads pages in Gundam mode,"
        f" crop_mode true, base_size {BASE_PX}, image_size {tiling.tile_px}"
    )


def _name(*, crop: bool, tile: int) -> str:
    mode = None if crop else ONE_VIEW.get(tile)
    return "no mode of DeepSeek-OCR" if mode is None else f"{mode} mode"
