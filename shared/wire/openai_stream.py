"""Streams of chat completions: chunks as server-sent events, written and read.

Refuses to end early: a stream without its `[DONE]` is a failure. A failure inside a stream is an
error frame, then `[DONE]`. Stop and usage survive; a repetition reads back as a length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from shared.errors import EngineFailed, OcrError
from shared.framing import Event, EventReader, write_event
from shared.http import SSE, Reply
from shared.ocr import Delta, Done, Stop, Text, Usage
from shared.wire import openai, openai_errors
from shared.wire.answers import Stamp, read_answer
from shared.wire.streams import StreamReader

END: Final = "[DONE]"


class Piece(msgspec.Struct, omit_defaults=True):
    """What a chunk adds."""

    role: str | None = None
    content: str | None = None


class ChunkChoice(msgspec.Struct, kw_only=True):
    """The one choice of a chunk; `finish_reason` stands only in the last, as documented."""

    index: int = 0
    delta: Piece = msgspec.field(default_factory=Piece)
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    logprobs: object = msgspec.UNSET


class Chunk(msgspec.Struct, kw_only=True):
    """One frame of a stream."""

    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    choices: list[ChunkChoice] = msgspec.field(default_factory=list)
    usage: openai.Counts | msgspec.UnsetType | None = msgspec.UNSET
    error: openai_errors.Failure | str | msgspec.UnsetType = msgspec.UNSET


CHUNKS: Final = msgspec.json.Decoder(Chunk)


class DeltaWriter:
    """Writes hub deltas as chunks. `write_error` words a failure as the flavour does."""

    media_type: ClassVar[str] = SSE

    __slots__ = ("_call", "_head", "_write_error")

    def __init__(
        self,
        call: openai.Call,
        stamp: Stamp,
        *,
        write_error: Callable[[OcrError], Reply] = openai_errors.write_error,
    ) -> None:
        self._call = call
        self._write_error = write_error
        self._head = Chunk(
            id=openai.write_id(stamp), created=int(stamp.at.timestamp()), model=call.model
        )

    def start(self) -> bytes:
        """The frame that names the role. Its content is "", not null: clients add contents up."""
        return self._frame(Piece(role="assistant", content=""))

    def write(self, delta: Delta, at: object = None) -> bytes:  # noqa: ARG002 (one signature for all wires)
        """The frames of one delta; `Done` makes all the last ones."""
        match delta:
            case Text(text):
                return self._frame(Piece(content=text)) if text else b""
            case Done(stop=stop, usage=usage):
                end = self._frame(Piece(), finish_reason=openai.write_stop(stop))
                return end + self._usage(usage) + write_event(END)

    def fail(self, error: OcrError) -> bytes:
        """The last frames of a stream that broke."""
        return write_event(self._write_error(error).body.decode()) + write_event(END)

    def _frame(self, piece: Piece, finish_reason: str | msgspec.UnsetType = msgspec.UNSET) -> bytes:
        logprobs = None if self._call.logprobs else msgspec.UNSET
        choice = ChunkChoice(delta=piece, finish_reason=finish_reason, logprobs=logprobs)
        return _write(msgspec.structs.replace(self._head, choices=[choice]))

    def _usage(self, usage: Usage) -> bytes:
        if not self._call.include_usage:
            return b""
        return _write(msgspec.structs.replace(self._head, usage=openai.write_usage(usage)))


class DeltaReader(StreamReader[Event]):
    """Reads chunks as hub deltas."""

    __slots__ = ("_stop", "_usage")

    def __init__(self) -> None:
        super().__init__(EventReader())
        self._stop = Stop.STOP
        self._usage = Usage()

    def _read(self, item: Event) -> list[Delta]:
        if item.data.strip() == END:
            return [Done(stop=self._stop, usage=self._usage)]
        chunk = read_answer(item.data.encode(), CHUNKS)
        if chunk.error is not msgspec.UNSET:
            raise read_failure(chunk.error)
        if isinstance(chunk.usage, openai.Counts):
            self._usage = openai.read_usage(chunk.usage)
        texts: list[Delta] = []
        for choice in chunk.choices[:1]:
            if isinstance(choice.finish_reason, str):
                self._stop = openai.read_stop(choice.finish_reason)
            if choice.delta.content:
                texts.append(Text(choice.delta.content))
        return texts


def read_failure(failure: openai_errors.Failure | str) -> OcrError:
    """The failure of an error frame: llama-server's code is a status, OpenAI's a word."""
    if isinstance(failure, str):
        return EngineFailed(failure)
    status = failure.code if isinstance(failure.code, int) else 500
    body = msgspec.json.encode({"error": failure})
    return openai_errors.read_error(Reply(status=status, body=body))


def _write(chunk: Chunk) -> bytes:
    return write_event(msgspec.json.encode(chunk).decode())
