"""dots.ocr and dots.mocr: their prompts to the letter, their page sizes, where their boxes stand.

Sources: the vendor's `dots_ocr/utils/prompts.py`, `image_utils.py`, `layout_utils.py`, `parser.py`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from PIL.Image import Image, Resampling

from shared.engine.family import PageWork, Question
from shared.families.cells import CellFilter
from shared.families.sizes import clipped, resized, scaled, smart_size, within_ratio
from shared.families.work import OneAnswer, drawn, no_page, unable
from shared.layout import read_dots
from shared.ocr import Box, Request, Size, Task

NAME: Final = "dots.ocr"

FACTOR: Final = 28
PIXELS_MIN: Final = 3136
PIXELS_MAX: Final = 11_289_600
"""The vendor's own: sides are multiples of 28 px, a page has these many pixels."""

IMAGE_TEXT: Final = "<|img|><|imgpad|><|endofimg|>"
"""Written by the client, first in the text: with the template's own array branch the marks of the
user's turn are missing (61 of 300 answers bad, against 7)."""

SYSTEM: Final = "You are a helpful assistant."
"""What dots.mocr is asked free questions with."""

TOKENS: Final = 16_384

LAYOUT_ALL: Final = """\
Please output the layout information from the PDF image, including each layout element's bbox, \
its category, and the corresponding text content within the bbox.

1. Bbox format: [x1, y1, x2, y2]

2. Layout Categories: The possible categories are ['Caption', 'Footnote', 'Formula', 'List-item', \
'Page-footer', 'Page-header', 'Picture', 'Section-header', 'Table', 'Text', 'Title'].

3. Text Extraction & Formatting Rules:
    - Picture: For the 'Picture' category, the text field should be omitted.
    - Formula: Format its text as LaTeX.
    - Table: Format its text as HTML.
    - All Others (Text, Title, etc.): Format their text as Markdown.

4. Constraints:
    - The output text must be the original text from the image, with no translation.
    - All layout elements must be sorted according to human reading order.

5. Final Output: The entire output must be a single JSON object.
"""

LAYOUT_ONLY: Final = (
    "Please output the layout information from this PDF image, including each layout's bbox and"
    " its category. The bbox should be in the format [x1, y1, x2, y2]. The layout categories for"
    " the PDF document include ['Caption', 'Footnote', 'Formula', 'List-item', 'Page-footer',"
    " 'Page-header', 'Picture', 'Section-header', 'Table', 'Text', 'Title']. Do not output the"
    " corresponding text. The layout result should be in JSON format."
)

OCR: Final = "Extract the text content from this image."

GROUNDING: Final = (
    "Extract text from the given bounding box on the image (format: [x1, y1, x2, y2])."
    "\nBounding Box:\n"
)


class DotsFamily:
    """The recipe.

    Args:
        system: the system message of free questions, where the checkpoint has one.
    """

    def __init__(self, *, system: str | None = None) -> None:
        self._system = system

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        if page is None:
            raise no_page(NAME)
        seen = input_size(page.size)
        question = drawn(
            Question(
                text=self._words(request, page.size),
                image_text=IMAGE_TEXT,
                image=_shown(page, request.task),
                system=self._system if request.task is Task.CHAT else None,
                temperature=0.1,
                max_tokens=TOKENS,
            ),
            request.sampling,
        )
        if request.task not in {Task.LAYOUT, Task.LAYOUT_ONLY}:
            return OneAnswer(question)
        place = partial(_place, seen=seen, sent=page.size)
        texts = request.task is Task.LAYOUT
        return OneAnswer(question, CellFilter(place, texts=texts), read_dots)

    def _words(self, request: Request, size: Size) -> str:
        match request.task:
            case Task.LAYOUT:
                return LAYOUT_ALL
            case Task.LAYOUT_ONLY:
                return LAYOUT_ONLY
            case Task.TEXT | Task.MARKDOWN:
                return OCR
            case Task.REGION:
                return GROUNDING + str(list(_asked(request.box, size)))
            case Task.CHAT if request.prompt.strip():
                return request.prompt
            case _:
                raise unable(NAME, request)


def dots_family(checkpoint: str) -> DotsFamily:
    """The recipe of a checkpoint, by its hub name or folder."""
    return DotsFamily(system=SYSTEM if "mocr" in checkpoint.casefold() else None)


def input_size(size: Size) -> Size:
    """The size at which the model sees a page; its boxes are pixels of that."""
    framed = _framed(size)
    return smart_size(framed, factor=FACTOR, pixels_min=PIXELS_MIN, pixels_max=PIXELS_MAX)


def _framed(size: Size) -> Size:
    """The size after white was added to a page too thin (`within_ratio`)."""
    least = -(-max(size) // 200)
    return max(size[0], least), max(size[1], least)


def _shown(page: Image, task: Task) -> Image:
    """The page as it is sent: resized here where a box is told in the resized page's pixels, where
    it is so large that sending it whole would be waste, and where processors round small sides
    otherwise than the vendor; else the processor resizes it."""
    page = within_ratio(page)
    size = smart_size(page.size, factor=FACTOR, pixels_min=PIXELS_MIN, pixels_max=PIXELS_MAX)
    large = page.size[0] * page.size[1] > PIXELS_MAX
    if task is Task.REGION or large or min(page.size) < FACTOR:
        return resized(page, size, Resampling.BICUBIC)
    return page


def _asked(box: Box | None, size: Size) -> Box:
    """The box to read in the resized page's pixels, cut off as the vendor does; none is all."""
    seen, framed = input_size(size), _framed(size)
    left, top, right, bottom = (0, 0, *size) if box is None else box
    return (
        int(left * seen[0] / framed[0]),
        int(top * seen[1] / framed[1]),
        int(right * seen[0] / framed[0]),
        int(bottom * seen[1] / framed[1]),
    )


def _place(box: Box, *, seen: Size, sent: Size) -> Box:
    """A box of the resized page on the page as it was sent."""
    return clipped(scaled(box, seen, _framed(sent)), sent)
