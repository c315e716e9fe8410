"""What every model makes of every task in every dialect, as a table: `python -m router.matrix`
writes it, from the same decisions that requests go through. It asks nobody.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from router.dialects import CHATVLM_CHAT, DEEPSEEK, DOTS, OPENAI, Operation
from router.fleet import MODELS, Service, Target, Wire
from router.translate import make_turn
from router.words import understand
from shared.errors import InvalidRequest
from shared.ocr import Box, BytesPage, EncodedPage, Page, PathPage, Request, Task, UrlPage
from shared.wire import deepseek

FILE: Final = Path(__file__).with_name("MATRIX.md")

EXACT: Final = "="

STATUS: Final = 400
"""Of what is refused, in all dialects."""

WORDS: Final = "the words"
"""What a dialect that has words asks with, or looks for."""

BOX: Final[Box] = (1, 1, 9, 9)


class Spoken(msgspec.Struct, frozen=True):
    """What a dialect can say besides the task, which the header X-OCR-Task names."""

    operation: Operation
    words: str = ""
    phrase: str | None = None
    box: Box | None = None


DIALECTS: Final[Mapping[str, Spoken]] = {
    "openai": Spoken(OPENAI, WORDS),
    "dots": Spoken(DOTS, box=BOX),
    "deepseek": Spoken(DEEPSEEK, WORDS),
    "chatvlm": Spoken(CHATVLM_CHAT, WORDS),
}

TARGETS: Final = tuple(
    Target(Service(name=wire, wire=wire, models=models, replicas=()), model)
    for wire, models in MODELS.items()
    for model in models
)
"""Every documented model."""

PAGES: Final[Mapping[str, Page]] = {
    "base64": EncodedPage("iVBORw0KGgo="),
    "a file": BytesPage(b"\x89PNG\r\n\x1a\n"),
    "an address": UrlPage("http://example.org/page.png"),
    "a path": PathPage("page.png"),
}


class Cell(msgspec.Struct, frozen=True):
    """What becomes of one request: nothing is lost, `loss` is, or it is refused."""

    loss: str = ""
    refused: str = ""

    @property
    def status(self) -> int:
        return STATUS if self.refused else 200


def find_cell(dialect: str, target: Target, task: Task, page: Page = PAGES["base64"]) -> Cell:
    """What the router does with a page and a task that the header names."""
    spoken = DIALECTS[dialect]
    request = Request(
        model=target.model,
        task=Task.MARKDOWN,
        pages=(page,),
        prompt=spoken.words,
        box=spoken.box if task is Task.REGION else None,
    )
    try:
        turn = make_turn(understand(request, spoken.operation, target, task), target, dialect)
    except InvalidRequest as error:
        return Cell(refused=str(error))
    return Cell(loss=turn.loss)


def write_matrix() -> str:
    """The whole file."""
    notes: dict[str, str] = {}
    tables = [_table(dialect, notes) for dialect in DIALECTS]
    legend = [f"- `{mark}` {note}" for note, mark in notes.items()]
    return "\n".join(
        [HEAD.format(equal=EXACT, grounding=deepseek.GROUNDING), *legend, "", *tables, _pages(), ""]
    ).replace("\n\n\n", "\n\n")


def _table(dialect: str, notes: dict[str, str]) -> str:
    rows = [
        [
            _model(target, dialect),
            *(_mark(find_cell(dialect, target, task), notes) for task in Task),
        ]
        for target in TARGETS
    ]
    return f"## {dialect}\n\n" + _lines(["", *Task], rows)


def _pages() -> str:
    """Which ways of sending a page reach which service."""
    firsts = {target.service.wire: target for target in reversed(TARGETS)}
    rows = [
        [
            wire,
            *(
                str(STATUS) if find_cell("openai", firsts[wire], Task.TEXT, page).refused else EXACT
                for page in PAGES.values()
            ),
        ]
        for wire in Wire
    ]
    return PAGES_HEAD + _lines(["", *PAGES], rows)


def _model(target: Target, dialect: str) -> str:
    own = target.service.wire is DIALECTS[dialect].operation.wire
    return target.model + (" *" if own else "")


def _mark(cell: Cell, notes: dict[str, str]) -> str:
    if cell.refused:
        return str(STATUS)
    if not cell.loss:
        return EXACT
    return notes.setdefault(cell.loss, "abcdefghijklmnopqrstuvwxyz"[len(notes)])


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


HEAD: Final = """# Any dialect in, any model out

What the router does with a page: for each dialect a table of models and tasks. It is written by
`python -m router.matrix` from what requests really go through; a test fails when it is out of date.

- `{equal}` exact: the model has the task. Layouts are told again in the caller's form, boxes within
  one unit of the coarser grid (pixels, or deepseek's 0-999).
- a letter: lossy. The answer says so in `x-ocr-loss`, in these words.
- `400`: refused, in the dialect's own error shape.
- `*` after a model: the dialect is its service's own. Without the header `X-OCR-Task` such a
  request passes through as it is, and the answer is the service's own.

The task is that of the header, which every dialect may send. Without it the dialect's own words
name it: dots' `prompt_type`, deepseek's prompts (`{grounding}` is layout), chatvlm's paths; in
OpenAI messages the words that the model itself listens to, and the layout prompts of dots and
deepseek with any model. OpenAI and chatvlm's `/chat` have words to look for (locate), deepseek
has `<|ref|>`; dots alone has a box to read (region; without one it is the page). A message
without a page is answered by every model, never refused.

What is lost:
"""

PAGES_HEAD: Final = """## How a page may come

By service, whatever the dialect: addresses and paths are the service's to open, where its
format has them.

"""


if __name__ == "__main__":
    if sys.argv[1:]:
        raise SystemExit("usage: python -m router.matrix")
    FILE.write_text(write_matrix())
