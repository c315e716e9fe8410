"""What makes PaddleOCR-VL PaddleOCR-VL. Imports no engine; the layout model is handed in, or loaded
when the first page is cut.

The model reads elements, not pages: a page is cut where a layout model sees regions, each is asked
with its kind's prompt, and what comes back is made what the service's document promises.
Source: the vendor's `paddleocr_vl/{pipeline,uilts,result}.py` and `PaddleOCR-VL-1.6.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from PIL.Image import Image, Resampling

from services.paddle import layout
from services.paddle.elements import (
    Element,
    Kind,
    Regions,
    find_elements,
    whole_page,
    without_margins,
)
from services.paddle.fields import ABSENT
from services.paddle.reading import FieldReading, PageReading
from shared.engine.family import PageWork, Question
from shared.engine.protocol import Recipe
from shared.errors import InvalidRequest
from shared.families.sizes import bounded, clipped, resized, within_ratio
from shared.families.work import drawn, no_page, unable
from shared.ocr import Request, Sampling, Task

MODEL = "PaddlePaddle/PaddleOCR-VL"
"""The documented id; a request may name any, and its answer echoes that."""

RECIPE = Recipe(model=MODEL, tables="markdown")
"""The service's document promises Markdown tables; the model itself writes OTSL."""

CHECKPOINT: Final = MODEL
"""The weights of the documented model."""

PROMPTS: Final[Mapping[Kind, str]] = {
    Kind.TEXT: "OCR:",
    Kind.TABLE: "Table Recognition:",
    Kind.FORMULA: "Formula Recognition:",
    Kind.CHART: "Chart Recognition:",
}
"""All that it understands."""

WHOLE: Final[Mapping[Task, Kind]] = {
    Task.FORMULA: Kind.FORMULA,
    Task.CHART: Kind.CHART,
    Task.REGION: Kind.TEXT,
}
"""Tasks about what was sent as a whole; no layout is looked for."""

PIXELS: Final = {"min_pixels": 112_896, "max_pixels": 1_003_520}
"""The pipeline's bounds for every element, whatever the checkpoint's own say."""

SENT_PIXELS_MAX: Final = 4 * PIXELS["max_pixels"]
"""Larger crops are reduced before they are sent anywhere; the processor reduces them further."""

TOKENS_MAX: Final = 4096
"""Of one element, in the pipeline."""


class PaddleFamily(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe. `regions` is the layout model."""

    regions: Regions
    tables: Literal["markdown", "html"] = RECIPE.tables

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        if page is None:
            raise no_page(MODEL)
        elements = self._elements(request, page)
        asked = [element for element in elements if element.kind in PROMPTS]
        questions = [_question(element, page, request.sampling) for element in asked]
        if request.task in ABSENT:
            return FieldReading(request.task, elements, questions)
        return PageReading(elements, questions, tables=self.tables)

    def _elements(self, request: Request, page: Image) -> list[Element]:
        match request.task:
            case Task.TEXT | Task.MARKDOWN:
                return find_elements(page, self.regions)
            case Task.TABLE:
                return _tables(find_elements(page, self.regions), page)
            case Task.RECEIPT | Task.INVOICE | Task.FORM:
                return [_as_text(element) for element in find_elements(page, self.regions)]
            case Task.FORMULA | Task.CHART | Task.REGION:
                element = whole_page(page.size, WHOLE[request.task])
                box = clipped(request.box or element.box, page.size)
                if box[0] == box[2] or box[1] == box[3]:
                    raise InvalidRequest("the box holds nothing of the page")
                return [msgspec.structs.replace(element, box=box)]
            case _:
                raise unable(MODEL, request)


def family_for(checkpoint: str, regions: Regions | None = None) -> PaddleFamily:  # noqa: ARG001
    """The recipe of a checkpoint: versions 1.0, 1.5 and 1.6 differ in their templates alone, which
    stand in the checkpoints."""
    return PaddleFamily(regions=regions or layout.WheelLayout())


FAMILY: Final = family_for(CHECKPOINT)


def _tables(elements: list[Element], page: Image) -> list[Element]:
    """The page's tables; a page on which no regions were seen is perhaps one."""
    tables = [element for element in elements if element.kind is Kind.TABLE]
    if tables or elements != [whole_page(page.size)]:
        return tables
    return [whole_page(page.size, Kind.TABLE)]


def _as_text(element: Element) -> Element:
    """Receipts are seen as pictures, and pictures of them are what is asked about."""
    kind = Kind.TEXT if element.kind is Kind.PICTURE else element.kind
    return msgspec.structs.replace(element, kind=kind)


def _question(element: Element, page: Image, sampling: Sampling) -> Question:
    crop = page if element.box == (0, 0, *page.size) else page.crop(element.box)
    if element.kind is Kind.FORMULA:
        crop = without_margins(crop)
    crop = resized(crop, bounded(crop.size, SENT_PIXELS_MAX), Resampling.LANCZOS)
    question = Question(
        text=PROMPTS[element.kind],
        image=within_ratio(crop),
        max_tokens=TOKENS_MAX,
        processor_kwargs=PIXELS,
    )
    asked = drawn(question, sampling)
    most = TOKENS_MAX if asked.max_tokens < 0 else min(TOKENS_MAX, asked.max_tokens)
    return msgspec.structs.replace(asked, max_tokens=most)
