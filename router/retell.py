"""Tells an answer again in another form: layout texts into each other, into plain text, and plain
text into a layout of one block. Streams as far as the forms allow; pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from router.abilities import Asked, Form
from router.blocks import BlockReader, DotsBlocks, GroundingBlocks
from shared import layout
from shared.errors import EngineFailed
from shared.ocr import Block, Box, Category, Request, Size, Task

TABLE_TASKS: Final = {Task.TABLE: Category.TABLE, Task.FORMULA: Category.FORMULA}
"""Tasks that want blocks of one category alone."""

INSIDE: Final = 0.5
"""A block belongs to a region when more than this share of it lies inside."""


ANY_SIZE: Final = (layout.GRID, layout.GRID)
"""Of a page whose boxes nobody reads."""

NOTHING: Final = {"", "[]", "{}"}
"""Answers of a model that found nothing."""


class Retelling(Protocol):
    """`feed` takes pieces of the answer and gives what can be told by now, `close` the rest."""

    def feed(self, text: str) -> str: ...

    def close(self) -> str: ...


def retelling(request: Request, asked: Asked, wanted: Form, size: Size | None) -> Retelling:
    """How to tell the answer to what was `asked` in the form `wanted`.

    The caller's `request` selects by its task, box and phrase what is kept. The page's `size` is
    needed wherever boxes stand on a grid, or are to be made.
    """
    if asked.form is wanted and (wanted is Form.PLAIN or _is_theirs(request.task, asked)):
        return AsItIs()
    if asked.form is Form.PLAIN:
        return OneBlock(request, wanted, size)
    return Blocks(request, asked.form, wanted, size)


def _is_theirs(task: Task, asked: Asked) -> bool:
    """Whether a layout says what the task wants, and no more, as the model has written it."""
    return task is Task.LAYOUT or (task in {Task.LAYOUT_ONLY, Task.LOCATE} and asked.task is task)


def wanted_form(dialect: str, task: Task, told: Form) -> Form:
    """The form a dialect writes a task's answer in; one that has none of its own keeps the
    model's, and makes dots' of plain text."""
    if task not in {Task.LAYOUT, Task.LAYOUT_ONLY, Task.LOCATE}:
        return Form.PLAIN
    own = {"dots": Form.DOTS, "deepseek": Form.GROUNDING}
    return own.get(dialect, told if told is not Form.PLAIN else Form.DOTS)


class AsItIs:
    """Nothing changes."""

    def feed(self, text: str) -> str:
        return text

    def close(self) -> str:
        return ""


class OneBlock:
    """Plain text as a layout: one block over the page, told when the text is whole."""

    def __init__(self, request: Request, wanted: Form, size: Size | None) -> None:
        self._request = request
        self._wanted = wanted
        self._size = size
        self._pieces: list[str] = []

    def feed(self, text: str) -> str:
        self._pieces.append(text)
        return ""

    def close(self) -> str:
        size = _known(self._size)
        text = "".join(self._pieces)
        block = Block(Category.TEXT, (0, 0, *size), text)
        kept = [block] if text.strip() else []
        if self._request.task is Task.LOCATE:
            return _located(self._request, kept, self._wanted, size)
        texts = self._request.task is not Task.LAYOUT_ONLY
        if self._wanted is Form.DOTS:
            return layout.write_dots(kept, texts=texts)
        return layout.write_grounding(kept, size, texts=texts)


class Blocks:
    """A layout told block by block, as each is read."""

    def __init__(self, request: Request, told: Form, wanted: Form, size: Size | None) -> None:
        self._request = request
        self._size = size
        grid = _grid(request, told, wanted, size)
        self._reader: BlockReader = DotsBlocks(grid) if told is Form.DOTS else GroundingBlocks(grid)
        self._wanted = wanted
        self._dots = layout.DotsWriter(texts=request.task is not Task.LAYOUT_ONLY)
        self._said = False
        self._kept: list[Block] = []
        self._unread: list[str] | None = []
        """The answer as it came, until its first block is read: models may leave their form."""

    def feed(self, text: str) -> str:
        if self._unread is not None:
            self._unread.append(text)
        return self._tell(self._reader.feed(text))

    def close(self) -> str:
        rest = self._tell(self._reader.close())
        if self._unread is not None and (unread := "".join(self._unread).strip()) not in NOTHING:
            return _told_plainly(self._request, self._wanted, self._size, unread)
        if self._request.task is Task.LOCATE:
            size = self._size or (0, 0)
            return _located(self._request, self._kept, self._wanted, size)
        if self._wanted is Form.DOTS:
            return rest + self._dots.close()
        return rest

    def _tell(self, blocks: Sequence[Block]) -> str:
        if blocks:
            self._unread = None
        kept = [block for block in blocks if _is_wanted(self._request, block)]
        if self._request.task is Task.LOCATE:
            self._kept += kept
            return ""
        if self._wanted is Form.DOTS:
            return "".join(map(self._dots.feed, kept))
        return "".join(self._piece(block) for block in kept)

    def _piece(self, block: Block) -> str:
        if self._wanted is Form.GROUNDING:
            texts = self._request.task is not Task.LAYOUT_ONLY
            piece = layout.write_grounded(block, _known(self._size), texts=texts)
        else:
            piece = block.text.strip()
        if not piece:
            return ""
        head = "\n\n" if self._said else ""
        self._said = True
        return head + piece


def _grid(request: Request, told: Form, wanted: Form, size: Size | None) -> Size:
    """The page's size; where no box is told or compared in pixels, any will do."""
    from_grid = told is Form.GROUNDING and (wanted is Form.DOTS or request.task is Task.REGION)
    return _known(size) if from_grid or wanted is Form.GROUNDING else size or ANY_SIZE


def _told_plainly(request: Request, wanted: Form, size: Size | None, text: str) -> str:
    """An answer that holds no block, as one: nothing the model said is dropped."""
    if wanted is Form.PLAIN:
        return text
    one = OneBlock(request, wanted, size)
    one.feed(text)
    return one.close()


def _is_wanted(request: Request, block: Block) -> bool:
    if (category := TABLE_TASKS.get(request.task)) is not None:
        return block.category is category
    if request.task is Task.REGION and request.box is not None:
        return _share(block.box, request.box) > INSIDE
    return True


def _share(block: Box, box: Box) -> float:
    """How much of the block lies inside the box."""
    width = min(block[2], box[2]) - max(block[0], box[0])
    height = min(block[3], box[3]) - max(block[1], box[1])
    area = (block[2] - block[0]) * (block[3] - block[1])
    return width * height / area if width > 0 and height > 0 and area > 0 else 0.0


def _located(request: Request, blocks: Iterable[Block], wanted: Form, size: Size) -> str:
    """The blocks that hold the phrase, in the form the caller reads."""
    phrase = " ".join((request.phrase or "").casefold().split())
    found = [
        block for block in blocks if phrase and phrase in " ".join(block.text.casefold().split())
    ]
    if wanted is Form.DOTS:
        return layout.write_dots(found)
    if not found:
        return ""
    return layout.write_tags(request.phrase or "", [block.box for block in found], _known(size))


def _known(size: Size | None) -> Size:
    if size is None:
        raise EngineFailed(
            "the layout cannot be converted", detail="nobody told the size of the page"
        )
    return size
