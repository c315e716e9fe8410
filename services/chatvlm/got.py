"""GOT-OCR 2.0: it takes no words but its own, which its processor writes from flags.

Sources: transformers' `got_ocr2/processing_got_ocr2.py`, the model card.
"""

from __future__ import annotations

from typing import Any, Final

import regex
from PIL.Image import Image, Resampling

from shared.engine.family import PageWork, Question
from shared.families.sizes import fitted, resized, scaled, within_ratio
from shared.families.work import OneAnswer, no_page, unable
from shared.ocr import Request, Task

NAME: Final = "GOT-OCR 2.0"

STOP: Final = "<|im_end|>"

TOKENS: Final = 4096

PATCHES_MAX: Final = 12
"""Most pieces of a page that is read in pieces: the processor's own bound, 256 tokens each."""

EDGE_PX_MAX: Final = 4096
"""Larger pages are reduced first: the model sees a square of 1024 px."""

_COLOUR: Final = regex.compile(r"\[(red|green|blue)\]", regex.IGNORECASE)
_BOX: Final = regex.compile(r"\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]")
_FORMAT: Final = regex.compile(r"\bwith format\b", regex.IGNORECASE)
_PATCHES: Final = regex.compile(r"\bupon the patch reference\b", regex.IGNORECASE)
_PAGES: Final = regex.compile(r"\bacross multi pages\b", regex.IGNORECASE)


class GotFamily:
    """The recipe. It is greedy whatever the client says: the model was trained to be.

    A chat selects modes in the model's own words: `OCR with format`, `[green] OCR`,
    `[x1, y1, x2, y2] OCR` in pixels of the page, `OCR with format upon the patch reference`; other
    words change nothing, and the page is read plainly, as the documented server does.
    """

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        if page is None:
            raise no_page(NAME)
        most = request.sampling.max_tokens
        flags = _flags(request)
        framed = within_ratio(page)
        shown = framed
        if "crop_to_patches" not in flags:
            shown = resized(framed, fitted(framed.size, EDGE_PX_MAX), Resampling.LANCZOS)
        if "box" in flags:
            # A new list each time: the processor writes into it.
            flags["box"] = list(scaled(flags["box"], framed.size, shown.size))
        return OneAnswer(
            Question(
                image=shown,
                max_tokens=TOKENS if most is None else most,
                stop=(STOP,),
                processor_kwargs=flags,
            )
        )


GOT: Final = GotFamily()


def _flags(request: Request) -> dict[str, Any]:
    match request.task:
        case Task.TEXT | Task.MARKDOWN:
            return {"format": True}
        case Task.REGION:
            return {} if request.box is None else {"box": request.box}
        case Task.CHAT:
            return _asked(request.prompt)
        case _:
            raise unable(NAME, request)


def _asked(words: str) -> dict[str, Any]:
    """The flags of the model's own words."""
    flags: dict[str, Any] = {}
    if _FORMAT.search(words):
        flags["format"] = True
    if _PATCHES.search(words):
        flags |= {"crop_to_patches": True, "max_patches": PATCHES_MAX}
    if _PAGES.search(words):
        flags["multi_page"] = True
    if box := _BOX.search(words):
        flags["box"] = tuple(int(place) for place in box.groups())
    elif colour := _COLOUR.search(words):
        flags["color"] = colour[1].lower()
    return flags
