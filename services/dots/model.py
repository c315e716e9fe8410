"""What makes dots.ocr dots.ocr. Pure; imports no engine. Its recipe is shared with chatvlm, which
serves the same model under another document."""

from __future__ import annotations

from typing import Final

from shared.engine.protocol import Recipe
from shared.families.dots import DotsFamily, dots_family

MODEL = "dots-ocr"
"""Every answer names it."""

RECIPE = Recipe(model=MODEL, tables="html", layout="dots")
"""Layout is a JSON array of bbox, category and text; tables are HTML (its layout prompt)."""

CHECKPOINT: Final = "rednote-hilab/dots.ocr"
"""The weights of the documented model."""


def family_for(checkpoint: str) -> DotsFamily:
    """The recipe of a checkpoint, by its hub name or folder."""
    return dots_family(checkpoint)


FAMILY: Final = family_for(CHECKPOINT)
