"""Qwen2-VL and Qwen3-VL: how a page is read and how a question is asked.

Sources: the model cards, the documented server's `models/{qwen_vl,qwen3_vl}.py`.
"""

from __future__ import annotations

import msgspec
from PIL.Image import Image, Resampling

from shared.engine.family import PageWork, Question
from shared.families.sizes import resized, smart_size, within_ratio
from shared.families.work import OneAnswer, drawn, unable
from shared.ocr import Request, Task

READING_TOKENS = 2048
"""The documented server's bound for `/ocr`."""


class QwenFamily(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe of one generation. The other generation's is `QWEN2` or `QWEN3`."""

    name: str
    factor: int
    """Sides are multiples of this: the patch, merged two by two."""
    tokens_min: int = 256
    tokens_max: int = 4096
    """Image tokens of a page. The cards cap it at 1280, which blurs the small print of an A4 page;
    at 200 DPI such a page has 3796 (Qwen3-VL) or 4956 (Qwen2-VL)."""
    reading: str
    """The documented server's words for `/ocr`; `{language}` is where a hint goes."""

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        question = Question(
            text=self._words(request),
            image=None if page is None else self._shown(page),
            max_tokens=READING_TOKENS,
        )
        if request.task is Task.CHAT:
            # The cards' own, for sampling; at temperature 0 they change nothing.
            question = msgspec.structs.replace(question, temperature=0.7, top_p=0.8, top_k=20)
        return OneAnswer(drawn(question, request.sampling))

    def _words(self, request: Request) -> str:
        match request.task:
            case Task.TEXT | Task.MARKDOWN:
                hint = " ".join((request.language or "").split())
                language = f"The text is in {hint}. " if hint else ""
                return self.reading.format(language=language).strip()
            case _ if request.prompt.strip():
                return request.prompt
            case _:
                raise unable(self.name, request)

    def _shown(self, page: Image) -> Image:
        """The page within the budget; between its bounds the processor rounds the sides."""
        page = within_ratio(page)
        area = self.factor**2
        least, most = self.tokens_min * area, self.tokens_max * area
        size = smart_size(page.size, factor=self.factor, pixels_min=least, pixels_max=most)
        if least <= page.size[0] * page.size[1] <= most and min(page.size) >= self.factor:
            return page
        return resized(page, size, Resampling.BICUBIC)


QWEN2 = QwenFamily(
    name="Qwen2-VL", factor=28, reading="Extract all text from this document. {language}"
)
QWEN3 = QwenFamily(
    name="Qwen3-VL",
    factor=32,
    reading="Extract all text from this image. {language}"
    "Maintain the original structure and formatting.",
)
