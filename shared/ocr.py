"""The hub: one small vocabulary about pages that every wire format and engine is written against.

Nothing here knows a vendor's request, does I/O or decodes a pixel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum

import msgspec

from shared.errors import EngineFailed

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the page as it was sent, after its EXIF turn."""

Size = tuple[int, int]
"""Width, height in pixels, after the EXIF turn."""


class Task(StrEnum):
    """What is wanted of the pages."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LAYOUT = "layout"
    LAYOUT_ONLY = "layout_only"
    REGION = "region"
    LOCATE = "locate"
    TABLE = "table"
    FORMULA = "formula"
    CHART = "chart"
    FIGURE = "figure"
    RECEIPT = "receipt"
    INVOICE = "invoice"
    FORM = "form"
    CHAT = "chat"


class Category(StrEnum):
    """What a block of a page is: the eleven categories of dots.ocr's prompt."""

    CAPTION = "Caption"
    FOOTNOTE = "Footnote"
    FORMULA = "Formula"
    LIST_ITEM = "List-item"
    PAGE_FOOTER = "Page-footer"
    PAGE_HEADER = "Page-header"
    PICTURE = "Picture"
    SECTION_HEADER = "Section-header"
    TABLE = "Table"
    TEXT = "Text"
    TITLE = "Title"


class EncodedPage(msgspec.Struct, frozen=True, tag="base64"):
    """A page as base64 text, with or without a `data:` head; nobody has decoded it yet."""

    data: str


class BytesPage(msgspec.Struct, frozen=True, tag="bytes"):
    """A page's file as bytes, with the file name it was uploaded under."""

    data: bytes
    name: str = ""


class UrlPage(msgspec.Struct, frozen=True, tag="url"):
    """A page to be fetched over http(s)."""

    url: str


class PathPage(msgspec.Struct, frozen=True, tag="path"):
    """A page in a file of the machine that reads it."""

    path: str


Page = EncodedPage | BytesPage | UrlPage | PathPage


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the answer is drawn. `None` means the client did not say."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """Most tokens of the answer; -1 is no limit."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ngram_size: int | None = None
    window_size: int | None = None
    crop_mode: bool | None = None
    base_size: int | None = None
    image_size: int | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of reading: pages in, one text out."""

    model: str
    task: Task
    pages: tuple[Page, ...] = ()
    prompt: str = ""
    """The client's own words, as far as the task does not say them."""
    sampling: Sampling = Sampling()
    language: str | None = None
    """A hint in whatever form the client sent: `ru`, `rus`, `Russian`."""
    box: Box | None = None
    """For `Task.REGION`: what to read."""
    phrase: str | None = None
    """For `Task.LOCATE`: what to find."""
    stream: bool = False


class Stop(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    REPETITION = "repetition"


class Usage(msgspec.Struct, frozen=True):
    """Tokens of the question (pages included) and of the answer, in the engine's own count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Block(msgspec.Struct, frozen=True):
    """A region of a page: what it is, where it stands, what it says.

    `text` is Markdown, for a table the HTML or Markdown the model writes, and empty for a picture.
    """

    category: Category
    box: Box
    text: str = ""
    page: int = 0


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A further piece of the answer."""

    text: str
    notes: tuple[str, ...] = ()
    """What the operator should know about how the page was read (a missing language, say)."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The end of an answer. It comes once, and last."""

    stop: Stop = Stop.STOP
    usage: Usage = Usage()
    blocks: tuple[Block, ...] = ()
    sizes: tuple[Size, ...] = ()
    """The size of each page read."""
    notes: tuple[str, ...] = ()


Delta = Text | Done


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: a stream of deltas, folded."""

    text: str
    stop: Stop = Stop.STOP
    usage: Usage = Usage()
    blocks: tuple[Block, ...] = ()
    sizes: tuple[Size, ...] = ()
    notes: tuple[str, ...] = ()


async def fold(deltas: AsyncIterator[Delta]) -> Result:
    """Gather a stream into a whole answer.

    Raises:
        EngineFailed: the stream ended without its `Done`, so the text may be cut short.
    """
    pieces: list[str] = []
    notes: list[str] = []
    async for delta in deltas:
        notes.extend(note for note in delta.notes if note not in notes)
        if isinstance(delta, Done):
            return Result(
                text="".join(pieces),
                stop=delta.stop,
                usage=delta.usage,
                blocks=delta.blocks,
                sizes=delta.sizes,
                notes=tuple(notes),
            )
        pieces.append(delta.text)
    raise EngineFailed("the answer ended early", detail="a stream of deltas without its Done")
