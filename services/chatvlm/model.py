"""What makes ChatVLMLLM's models what they are. Pure; imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from shared.engine.protocol import Recipe
from shared.ocr import Request, Task

DEFAULT: Final = "qwen3_vl_2b"
"""The documented default."""

RECIPES: Final[Mapping[str, Recipe]] = {
    "got_ocr": Recipe(model="got_ocr", tables="markdown"),
    "qwen_vl_2b": Recipe(model="qwen_vl_2b", tables="markdown"),
    "qwen_vl_7b": Recipe(model="qwen_vl_7b", tables="markdown"),
    "qwen3_vl_2b": Recipe(model="qwen3_vl_2b", tables="markdown"),
    "qwen3_vl_4b": Recipe(model="qwen3_vl_4b", tables="markdown"),
    "qwen3_vl_8b": Recipe(model="qwen3_vl_8b", tables="markdown"),
    "dots_ocr": Recipe(model="dots_ocr", tables="html", layout="dots"),
}
"""By id, in the documented order."""


def task_for(request: Request) -> Request:
    """The request as the model understands it: dots_ocr answers `/ocr` with its layout JSON, as
    the documented server's does; the others with text."""
    if request.model == "dots_ocr" and request.task is Task.TEXT:
        return msgspec.structs.replace(request, task=Task.LAYOUT)
    return request
