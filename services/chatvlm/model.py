"""What makes ChatVLMLLM's models what they are. Pure; imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

import msgspec

from services.chatvlm.got import GOT
from services.chatvlm.qwen import QWEN2, QWEN3
from shared.engine.family import Family
from shared.engine.protocol import Recipe
from shared.families.dots import dots_family
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

CHECKPOINTS: Final[Mapping[str, str]] = {
    "got_ocr": "stepfun-ai/GOT-OCR-2.0-hf",
    "qwen_vl_2b": "Qwen/Qwen2-VL-2B-Instruct",
    "qwen_vl_7b": "Qwen/Qwen2-VL-7B-Instruct",
    "qwen3_vl_2b": "Qwen/Qwen3-VL-2B-Instruct",
    "qwen3_vl_4b": "Qwen/Qwen3-VL-4B-Instruct",
    "qwen3_vl_8b": "Qwen/Qwen3-VL-8B-Instruct",
    "dots_ocr": "rednote-hilab/dots.ocr",
}
"""The weights of each. The document names GOT's first repository, whose code runs on old versions
of transformers only; this is the same model for today's."""

FAMILIES: Final[Mapping[str, Family]] = {
    "got_ocr": GOT,
    "qwen_vl_2b": QWEN2,
    "qwen_vl_7b": QWEN2,
    "qwen3_vl_2b": QWEN3,
    "qwen3_vl_4b": QWEN3,
    "qwen3_vl_8b": QWEN3,
    "dots_ocr": dots_family(CHECKPOINTS["dots_ocr"]),
}
"""How each is asked, by id."""


def family_for(model: str, checkpoint: str = "") -> Family:
    """The recipe of a model's weights; a checkpoint named in a setting may be a newer one. Its own
    name says more than the folders it lies in."""
    named = (_family_of(part) for part in (PurePath(checkpoint).name, checkpoint))
    return next((family for family in named if family is not None), FAMILIES[model])


def _family_of(name: str) -> Family | None:
    folded = name.casefold()
    if name in FAMILIES:
        return FAMILIES[name]
    if "qwen3-vl" in folded:
        return QWEN3
    if any(each in folded for each in ("qwen2-vl", "qwen2.5-vl", "qwen2_5-vl")):
        return QWEN2
    if "got-ocr" in folded:
        return GOT
    return dots_family(name) if "dots.ocr" in folded or "mocr" in folded else None


def task_for(request: Request) -> Request:
    """The request as the model understands it: dots_ocr answers `/ocr` with its layout JSON, as
    the documented server's does; the others with text."""
    if request.model == "dots_ocr" and request.task is Task.TEXT:
        return msgspec.structs.replace(request, task=Task.LAYOUT)
    return request
