"""What the router says inside a stream it passes through: the texts it reads there for the guard,
and the frames it writes in the service's place when the stream breaks or runs away.
"""

from __future__ import annotations

import re
from typing import Final

from router.dialects import Operation
from router.passing import Reader, media_type_of
from shared.errors import EngineFailed, OcrError
from shared.exchange import Exchange
from shared.http import SSE
from shared.ocr import Delta, Done, Request, Stop, Task, Text
from shared.streams import DeltaWriter, new_stamp, now
from shared.wire import deepseek, deepseek_stream, dots, openai, openai_stream

STOP_HEADER: Final = "x-ocr-stop"

HEAD: Final = re.compile(rb'"id":"chatcmpl-([0-9a-zA-Z]{1,64})"')
"""The id that all frames of an OpenAI stream share."""


class Endings:
    """One stream of one operation. Feed it each frame that passes."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._reader = _reader(operation.dialect)
        self.ended = False
        """Whether the stream has told its own end."""
        self._id: bytes | None = None

    def read(self, exchange: Exchange, frames: bytes) -> str:
        """The text in some whole frames; what else they tell is put down in the exchange. What
        cannot be read is the client's to read, and so is a failure that the stream tells of."""
        if self.ended:
            return ""
        if self._id is None and self._operation.dialect == "openai":
            found = HEAD.search(frames)
            self._id = found[1] if found else None
        texts: list[str] = []
        try:
            while deltas := self._reader.feed(frames):
                for delta in deltas:
                    exchange.saw(delta)
                    if isinstance(delta, Text):
                        texts.append(delta.text)
                self.ended = isinstance(deltas[-1], Done)
                frames = b""  # a failure behind these deltas is told when it is asked for
        except OcrError as error:
            self.ended = True
            exchange.failed(error, error.detail)
        return "".join(texts)

    def close(self) -> None:
        """The stream has ended of itself.

        Raises:
            EngineFailed: without its documented end.
        """
        if not self.ended:
            self._reader.close()

    def runaway(self) -> bytes:
        """The frames that end a stream which repeats itself."""
        writer = self._writer()
        return mark(writer.media_type) + self._with_id(
            writer.write(Done(stop=Stop.REPETITION), now())
        )

    def failure(self, error: OcrError) -> bytes:
        """The frames that end a stream which broke; none where it had ended already."""
        return b"" if self.ended else self._with_id(self._writer().fail(error))

    def _writer(self) -> DeltaWriter:
        writer = self._operation.writer
        if writer is None:
            raise EngineFailed("The model server streamed an answer that was not asked to be")
        return writer(_blank(self._operation), new_stamp())

    def _with_id(self, frames: bytes) -> bytes:
        if self._id is None:
            return frames
        return HEAD.sub(b'"id":"chatcmpl-' + self._id + b'"', frames)


def _reader(dialect: str) -> Reader:
    match dialect:
        case "openai":
            return openai_stream.DeltaReader()
        case "dots":
            return dots.DeltaReader()
        case "deepseek":
            return deepseek_stream.DeltaReader()
        case _:
            return _NoReader()


class _NoReader:
    """For dialects without streams."""

    def feed(self, data: bytes) -> list[Delta]:  # noqa: ARG002 (a reader's signature)
        return []

    def close(self) -> list[Delta]:
        return []


def _blank(operation: Operation) -> object:
    """A call with nothing in it: what the last frames need of one."""
    request = Request(model=operation.model, task=Task.MARKDOWN, stream=True)
    match operation.dialect:
        case "openai":
            return openai.Call(request=request, model=operation.model)
        case "dots":
            return dots.Call(request=request, prompt_type="prompt_ocr")
        case _:
            return deepseek.Call(request=request)


def mark(media_type: str) -> bytes:
    """The comment before the end of a stream that was stopped; only SSE has comments."""
    if media_type_of(media_type) != SSE:
        return b""
    return f": {STOP_HEADER}={Stop.REPETITION}\n\n".encode()
