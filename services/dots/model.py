"""What makes dots.ocr dots.ocr. Pure; imports no engine."""

from __future__ import annotations

from shared.engine.protocol import Recipe

MODEL = "dots-ocr"
"""Every answer names it."""

RECIPE = Recipe(model=MODEL, tables="html", layout="dots")
"""Layout is a JSON array of bbox, category and text; tables are HTML (its layout prompt)."""
