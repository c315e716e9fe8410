"""What makes DeepSeek-OCR DeepSeek-OCR. Pure; imports no engine.

Sources: the vendor's `DeepSeek-OCR-vllm/{config,run_dpsk_ocr_image,run_dpsk_ocr_pdf}.py`, vLLM's
`deepseek_ocr.py`, transformers' `deepseek_ocr2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec
from PIL.Image import Image, Resampling

from services.deepseek.modes import Tiling, check_mode
from shared.engine.family import PageWork, Question
from shared.engine.protocol import Recipe
from shared.families.sizes import fitted, resized, within_ratio
from shared.families.work import BlankLines, Chain, OneAnswer, Replacer, drawn, no_page, unable
from shared.layout import read_grounding
from shared.ocr import Request, Sampling, Task

MODEL = "deepseek-ocr"
"""The fleet's name for it; the documented format carries none."""

PROMPT = "<image>\n<|grounding|>Convert the document to markdown."
"""For requests that bring no prompt (the server's own configuration)."""

RECIPE = Recipe(model=MODEL, tables="html", layout="grounding")
"""Layout is Markdown with <|ref|>..<|det|> tags, 0-999; tables are HTML (published samples)."""

CHECKPOINT: Final = "deepseek-ai/DeepSeek-OCR"
"""The weights of the documented model."""

GROUNDING: Final = "<|grounding|>"

WORDS: Final[Mapping[Task, str]] = {
    Task.TEXT: "Free OCR.",
    Task.MARKDOWN: "Convert the document to markdown.",
    Task.FIGURE: "Parse the figure.",
    Task.CHART: "Parse the figure.",
    Task.CHAT: "Describe this image in detail.",
}
"""The prompts it was trained with. `<image>` and its newline in front are the engine's."""

NGRAM_SIZE: Final = 30
WINDOW_SIZE: Final = 90
TABLE_TAGS: Final = (128_821, 128_822)
"""`<td>` and `</td>`: a table may repeat them as it must."""

CLEANED: Final[Mapping[str, str]] = {
    "<｜begin▁of▁sentence｜>": "",
    "<｜end▁of▁sentence｜>": "",
    "<｜▁pad▁｜>": "",
    "\\coloneqq": ":=",
    "\\eqqcolon": "=:",
}
"""Special tokens that are no part of the text (the tags of the layout are), and two commands that
no renderer knows."""


EDGE_PX_MAX: Final = 5120
"""Larger pages are reduced before they are sent anywhere: six tiles in a row are 4608 px long."""


class DeepSeekFamily(msgspec.Struct, frozen=True):
    """The recipe of one checkpoint."""

    tiling: Tiling = Tiling()

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        if page is None:
            raise no_page(MODEL)
        framed = within_ratio(page)
        shown = resized(framed, fitted(framed.size, EDGE_PX_MAX), Resampling.LANCZOS)
        question = Question(
            text=_words(request),
            image=shown,
            max_tokens=8192,
            skip_special_tokens=False,
            extra_args=_no_repeats(request.sampling),
            processor_kwargs=check_mode(request.sampling, self.tiling, page.size),
        )
        return OneAnswer(
            drawn(question, request.sampling),
            Chain(Replacer(CLEANED), BlankLines()),
            partial(read_grounding, size=framed.size),
        )


def family_for(checkpoint: str) -> DeepSeekFamily:
    """The recipe of a checkpoint, by its hub name or folder.

    `deepseek-community` keeps the second one in the shape that transformers reads, and vLLM does
    not; there the processor can leave out the tiles.
    """
    name = checkpoint.casefold()
    if "deepseek-ocr-2" not in name:
        return DeepSeekFamily()
    return DeepSeekFamily(Tiling(tile_px=768, untiled="deepseek-community" in name))


FAMILY: Final = family_for(CHECKPOINT)


def _words(request: Request) -> str:
    match request.task:
        case Task.LOCATE:
            return f"Locate <|ref|>{request.phrase or request.prompt}<|/ref|> in the image."
        case Task.LAYOUT:
            return GROUNDING + (request.prompt or WORDS[Task.MARKDOWN])
        case task if task in WORDS:
            return request.prompt or WORDS[task]
        case _:
            raise unable(MODEL, request)


def _no_repeats(sampling: Sampling) -> dict[str, object]:
    """For vLLM's `NGramPerReqLogitsProcessor`, which does nothing without them."""
    return {
        "ngram_size": sampling.ngram_size or NGRAM_SIZE,
        "window_size": sampling.window_size or WINDOW_SIZE,
        "whitelist_token_ids": list(TABLE_TAGS),
    }
