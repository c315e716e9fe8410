"""What makes DeepSeek-OCR DeepSeek-OCR. Pure; imports no engine."""

from __future__ import annotations

from shared.engine.protocol import Recipe

MODEL = "deepseek-ocr"
"""The fleet's name for it; the documented format carries none."""

PROMPT = "<image>\n<|grounding|>Convert the document to markdown."
"""For requests that bring no prompt (the server's own configuration)."""

RECIPE = Recipe(model=MODEL, tables="html", layout="grounding")
"""Layout is Markdown with <|ref|>..<|det|> tags, 0-999; tables are HTML (published samples)."""
