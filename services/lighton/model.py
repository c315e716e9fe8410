"""What makes LightOnOCR LightOnOCR. Pure; imports no engine.

Sources: the model cards, and `lightonocr/{models,client,render,grounding}.py` of the vendor.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

import msgspec
from PIL.Image import Image, Resampling

from services.lighton.dollars import DollarFilter
from services.lighton.grounding import read_blocks
from shared.engine.family import PageWork, Question
from shared.engine.protocol import Recipe
from shared.families.sizes import fitted, resized
from shared.families.work import OneAnswer, drawn
from shared.ocr import Request, Task

MODEL = "LightOnOCR-1B-1025"
"""The documented id; every answer names it, whatever the request asked for."""

RECIPE = Recipe(model=MODEL, tables="html")
"""LightOnOCR writes Markdown with HTML tables and LaTeX (its model card)."""

CHECKPOINT: Final = "lightonai/LightOnOCR-1B-1025"
"""The weights of the documented model."""

GROUNDING: Final = "grounding"
"""The one instruction that a LightOnOCR-3 was trained on; every other one is outside."""

_GENERATION: Final = re.compile(r"lightonocr-([23])(?!\d)", re.IGNORECASE)
_PIXTRAL: Final = re.compile(r"lightonocr-(?:[23]-)?(?:1b|0\.9b)", re.IGNORECASE)


class LightOnFamily(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe of one checkpoint.

    No system message is sent: the template of the 1B models writes the empty turn they were
    trained with (`<|im_start|>system<|im_end|>`), and an empty message would be another one.
    """

    edge_px_max: int = 1540
    """The longer side of a page, as in training; larger pages are reduced, none is enlarged."""
    top_p: float = 0.9
    grounding: bool = False
    """It has a grounding mode."""
    thinks: bool = False
    """Its template opens a thinking block unless told not to."""

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        question = Question(
            text=self._words(request, page),
            image=None if page is None else self._shown(page),
            temperature=0.2,
            top_p=self.top_p,
            max_tokens=4096,
            template_kwargs={"enable_thinking": False} if self.thinks else {},
        )
        question = drawn(question, request.sampling)
        if page is None:
            return OneAnswer(question)
        return OneAnswer(question, DollarFilter(), partial(read_blocks, size=page.size))

    def _words(self, request: Request, page: Image | None) -> str:
        if page is None:
            return request.prompt
        asked = request.prompt.strip() == GROUNDING or request.task is Task.LAYOUT
        return GROUNDING if asked and self.grounding else ""

    def _shown(self, page: Image) -> Image:
        return resized(page, fitted(page.size, self.edge_px_max), Resampling.LANCZOS)


def family_for(checkpoint: str) -> LightOnFamily:
    """The recipe of a checkpoint, by its hub name or folder; a name that says nothing is the
    documented model's."""
    found = _GENERATION.search(checkpoint)
    if found is None or found[1] != "3":
        return LightOnFamily()
    if _PIXTRAL.search(checkpoint):
        return LightOnFamily(top_p=1.0, grounding=True)
    return LightOnFamily(edge_px_max=2048, top_p=1.0, grounding=True, thinks=True)


FAMILY: Final = family_for(CHECKPOINT)
