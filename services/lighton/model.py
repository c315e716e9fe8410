"""What makes LightOnOCR LightOnOCR. Pure; imports no engine."""

from __future__ import annotations

from shared.engine.protocol import Recipe

MODEL = "LightOnOCR-1B-1025"
"""The documented id; every answer names it, whatever the request asked for."""

RECIPE = Recipe(model=MODEL, tables="html")
"""LightOnOCR writes Markdown with HTML tables and LaTeX (its model card)."""
