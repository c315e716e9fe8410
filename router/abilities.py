"""What each model can be asked in its service's own format, and what stands in for the rest.

Data and one decision: which task a model is asked for, and what is lost by asking that instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from router.fleet import Target, Wire
from shared.ocr import Task


class Form(StrEnum):
    """How a text tells a page: in words alone, or with boxes."""

    PLAIN = "plain"
    DOTS = "dots"
    GROUNDING = "grounding"


class Asked(msgspec.Struct, frozen=True):
    """The task a model is asked for, the form its answer has, and what the caller loses."""

    task: Task
    form: Form = Form.PLAIN
    loss: str = ""


BOXLESS: Final = "the layout is one Text block over the page"
PLAIN_TEXT: Final = "the text has no Markdown"
MARKED_UP: Final = "the text carries Markdown"
WHOLE_PAGE: Final = "the whole page is read, not the box"
BLOCKS: Final = "the box is kept to whole blocks"
WHOLE_BLOCKS: Final = "the boxes are those of whole blocks"
NOT_FOUND: Final = "the box is the page"
NO_FIELDS: Final = "the fields are not picked out; the page's text is the answer"
NO_CHAT: Final = "the model cannot chat; the page's text is the answer"
ONLY_DESCRIBES: Final = "the question is put to a model that mostly reads"
WHOLE_TEXT: Final = "the whole page is read"

_PLAIN: Final = {
    # What a model that reads a page into one text has for each task.
    Task.LAYOUT: BOXLESS,
    Task.LAYOUT_ONLY: BOXLESS,
    Task.REGION: WHOLE_PAGE,
    Task.LOCATE: NOT_FOUND,
    Task.TABLE: WHOLE_TEXT,
    Task.FORMULA: WHOLE_TEXT,
    Task.CHART: WHOLE_TEXT,
    Task.FIGURE: WHOLE_TEXT,
    Task.RECEIPT: NO_FIELDS,
    Task.INVOICE: NO_FIELDS,
    Task.FORM: NO_FIELDS,
    Task.CHAT: NO_CHAT,
}


def _plain(task: Task, **exact: Asked) -> dict[Task, Asked]:
    """The abilities of a model without boxes that reads pages by `task`."""
    table = {lost: Asked(task, loss=loss) for lost, loss in _PLAIN.items()}
    table[Task.TEXT] = Asked(task, loss="" if task is Task.TEXT else MARKED_UP)
    table[Task.MARKDOWN] = Asked(task, loss="" if task is Task.MARKDOWN else PLAIN_TEXT)
    return table | {Task[name.upper()]: asked for name, asked in exact.items()}


def _with_boxes(form: Form, text: Asked, markdown: Asked, **exact: Asked) -> dict[Task, Asked]:
    """The abilities of a model that can tell where things are."""
    table = _plain(Task.MARKDOWN) | {
        task: Asked(markdown.task, markdown.form, asked)
        for task, asked in _PLAIN.items()
        if task not in {Task.LAYOUT, Task.LAYOUT_ONLY, Task.REGION, Task.LOCATE}
    }
    table |= {
        Task.TEXT: text,
        Task.MARKDOWN: markdown,
        Task.LAYOUT: Asked(Task.LAYOUT, form),
        Task.LAYOUT_ONLY: Asked(Task.LAYOUT, form),
        Task.REGION: Asked(Task.LAYOUT, form, BLOCKS),
        Task.LOCATE: Asked(Task.LAYOUT, form, WHOLE_BLOCKS),
        Task.TABLE: Asked(Task.LAYOUT, form),
        Task.FORMULA: Asked(Task.LAYOUT, form),
    }
    return table | {Task[name.upper()]: asked for name, asked in exact.items()}


def _itself(task: Task, form: Form = Form.PLAIN) -> Asked:
    return Asked(task, form)


ABILITIES: Final[Mapping[Wire, Mapping[Task, Asked]]] = {
    Wire.LIGHTON: _plain(Task.MARKDOWN),
    Wire.PADDLE: _plain(
        Task.MARKDOWN,
        table=_itself(Task.TABLE),
        receipt=_itself(Task.RECEIPT),
        invoice=_itself(Task.INVOICE),
        form=_itself(Task.FORM),
    ),
    Wire.DOTS: _with_boxes(
        Form.DOTS,
        _itself(Task.TEXT),
        # Its layout has Markdown in every block, which its plain text has not.
        Asked(Task.LAYOUT, Form.DOTS),
        layout_only=_itself(Task.LAYOUT_ONLY, Form.DOTS),
        region=_itself(Task.REGION),
    ),
    Wire.DEEPSEEK: _with_boxes(
        Form.GROUNDING,
        _itself(Task.TEXT),
        _itself(Task.MARKDOWN),
        locate=_itself(Task.LOCATE, Form.GROUNDING),
        figure=_itself(Task.FIGURE),
        chart=Asked(Task.FIGURE),
        chat=Asked(Task.CHAT, loss=ONLY_DESCRIBES),
    ),
    Wire.CHATVLM: _plain(
        Task.TEXT,
        table=_itself(Task.TABLE),
        formula=_itself(Task.FORMULA),
        chart=_itself(Task.CHART),
        figure=_itself(Task.FIGURE),
        receipt=_itself(Task.RECEIPT),
        invoice=_itself(Task.INVOICE),
        form=_itself(Task.FORM),
        chat=_itself(Task.CHAT),
    ),
}

OF_MODEL: Final[Mapping[str, Mapping[Task, Asked]]] = {
    # GOT-OCR reads; what it is asked in `/chat` it does not hear.
    "got_ocr": _plain(Task.TEXT),
    # `/ocr` of this one answers with its layout JSON.
    "dots_ocr": {
        task: Asked(Task.TEXT, Form.DOTS, asked.loss)
        for task, asked in _with_boxes(
            Form.DOTS, Asked(Task.TEXT, loss=MARKED_UP), _itself(Task.MARKDOWN)
        ).items()
    },
}
"""Models of chatvlm that are not as the others: they hear no questions."""


def can_chat(target: Target) -> bool:
    """Whether any words may be put to the model as a question."""
    return target.service.wire is Wire.CHATVLM and target.model not in OF_MODEL


def ask(target: Target, task: Task) -> Asked:
    """What to ask of a model for a task."""
    of_wire = ABILITIES[target.service.wire]
    if target.service.wire is Wire.CHATVLM:
        return OF_MODEL.get(target.model, of_wire)[task]
    return of_wire[task]
