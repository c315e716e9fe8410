"""What makes PaddleOCR-VL PaddleOCR-VL. Pure; imports no engine."""

from __future__ import annotations

from shared.engine.protocol import Recipe

MODEL = "PaddlePaddle/PaddleOCR-VL"
"""The documented id; a request may name any, and its answer echoes that."""

RECIPE = Recipe(model=MODEL, tables="markdown")
"""The service's document promises Markdown tables; the model itself writes OTSL."""
