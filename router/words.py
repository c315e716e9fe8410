"""What the words of a request mean to the model that is asked: which task, which place or phrase.

Words are understood, never answered: what a model makes of a task is said in `abilities`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from router.abilities import can_chat
from router.dialects import Operation
from router.fleet import Target, Wire
from shared.ocr import Request, Task
from shared.wire import deepseek, paddle

DOTS_LAYOUT: Final = "please output the layout information"
DOTS_REGION: Final = "extract text from the given bounding box"
DOTS_TEXT: Final = "extract the text content from this image"
"""What dots' own prompts begin with (rednote-hilab/dots.ocr, dots_ocr/utils/prompts.py)."""

_BOX: Final = re.compile(r"\[\s*(\d{1,7}),\s*(\d{1,7}),\s*(\d{1,7}),\s*(\d{1,7})\s*\]")


def understand(
    request: Request,
    operation: Operation,
    target: Target,
    task: Task | None,
    asked: str | None = None,
) -> Request:
    """The hub's request as the words of an OpenAI message mean it to the model that is asked; the
    other dialects have words of their own, which their wires have read already.

    A `task` that was named decides, whatever the words are. `asked` are the user's words alone.
    """
    if task is not None:
        return _told(request, task)
    if operation.dialect != "openai" or not request.pages:
        return request
    request = _layout_words(request)
    return request if request.task is not Task.MARKDOWN else _own_words(request, target, asked)


def _own_words(request: Request, target: Target, asked: str | None) -> Request:
    """What the words mean to this model alone."""
    match target.service.wire:
        case Wire.PADDLE:
            words = request.prompt if asked is None else asked
            return msgspec.structs.replace(request, task=paddle.read_mode(words))
        case Wire.DEEPSEEK if request.prompt:
            meant, words, phrase = deepseek.read_prompt(request.prompt)
            if meant is Task.CHAT and not words.casefold().startswith("describe"):
                return request  # it is no chat model: words that are not its own want the page read
            return msgspec.structs.replace(request, task=meant, prompt=words, phrase=phrase)
        case Wire.CHATVLM if request.prompt and can_chat(target):
            return msgspec.structs.replace(request, task=Task.CHAT)
        case Wire.DOTS if _folded(request.prompt).startswith(DOTS_TEXT):
            return msgspec.structs.replace(request, task=Task.TEXT)
        case _:
            return request


def _told(request: Request, task: Task) -> Request:
    """The request for a task that was named; words count where the task is about them."""
    phrase = request.phrase
    if task is Task.LOCATE and not phrase:
        phrase = deepseek.read_prompt(request.prompt)[2] or request.prompt.strip() or None
    prompt = request.prompt if task is Task.CHAT else ""
    return msgspec.structs.replace(request, task=task, prompt=prompt, phrase=phrase)


def _layout_words(request: Request) -> Request:
    """Words that ask for a layout, whoever reads them: deepseek's tags, dots' own prompts."""
    prompt, folded = request.prompt, _folded(request.prompt)
    if deepseek.GROUNDING in prompt or deepseek.PHRASE.search(prompt):
        meant, words, phrase = deepseek.read_prompt(prompt)
        return msgspec.structs.replace(request, task=meant, prompt=words, phrase=phrase)
    if folded.startswith(DOTS_LAYOUT):
        only = "text content" not in folded.partition("1.")[0]
        task = Task.LAYOUT_ONLY if only else Task.LAYOUT
        return msgspec.structs.replace(request, task=task, prompt="")
    if folded.startswith(DOTS_REGION) and (found := _BOX.search(prompt)):
        left, top, right, bottom = map(int, found.groups())
        box = (left, top, right, bottom)
        return msgspec.structs.replace(request, task=Task.REGION, prompt="", box=box)
    return request


def _folded(words: str) -> str:
    return " ".join(words.casefold().split())
