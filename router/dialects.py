"""The dialects clients speak, as data: how each operation is read, how its answers and errors are
written, and whose service speaks it already. What its words mean to a model is said in `words`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from router.fleet import Wire
from shared.errors import InvalidRequest, OcrError
from shared.http import Form, Incoming, Reply
from shared.limits import MIB, Limits
from shared.ocr import BytesPage, Request, Result, Task
from shared.streams import DeltaWriter
from shared.wire import (
    chatvlm,
    deepseek,
    deepseek_stream,
    dots,
    lighton,
    openai,
    paddle,
    parameters,
)
from shared.wire.answers import Stamp

LIMITS: Final = Limits(
    image_bytes_max=32 * MIB,
    temperature=None,
    top_p=None,
    max_tokens=None,
)
"""How requests are read before it is known who answers: what is absent stays absent."""

MODEL_HEADER: Final = "x-ocr-model"
TASK_HEADER: Final = "x-ocr-task"

Call = Any
"""A wire's own call; it holds the hub's `request`, and only that wire looks at the rest."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a client can ask in one dialect."""

    dialect: str
    wire: Wire
    """Services of this wire speak the dialect: bytes pass through to them as they are."""
    path: str
    """Where such a service answers the operation."""
    model: str
    """Who answers when nobody is named."""
    read: Callable[[Incoming, Limits], Call]
    write: Callable[[Call, Result, Stamp], Reply]
    write_error: Callable[[OcrError], Reply]
    writer: Callable[[Call, Stamp], DeltaWriter] | None = None
    """For answers that may be streamed."""
    always_streams: bool = False


class _Named(msgspec.Struct):
    """The one field of a body that the router looks at."""

    model: str | None = None


_NAMED: Final = msgspec.json.Decoder(_Named, strict=False)


def named_model(incoming: Incoming) -> str | None:
    """The model a request names: in its query, header, form or JSON body, in that order.

    A body that is no JSON, or names it in another type, names none; reading it says what is wrong.
    """
    name = incoming.query.get("model") or incoming.headers.get(MODEL_HEADER)
    if name:
        return name
    if incoming.form is not None:
        return incoming.form.fields.get("model") or None
    if b'"model"' not in incoming.body:
        return None
    try:
        return parameters.decode_json(incoming.body.removeprefix(parameters.BOM), _NAMED).model
    except InvalidRequest:
        return None


class _Streamed(msgspec.Struct):
    """Whether a body asks for a stream."""

    stream: bool | None = None


_STREAMED: Final = msgspec.json.Decoder(_Streamed, strict=False)


def wants_stream(incoming: Incoming, operation: Operation) -> bool:
    """Whether a request asks for a streamed answer."""
    if operation.always_streams or operation.writer is None:
        return operation.always_streams
    if b'"stream"' not in incoming.body:
        return False
    try:
        body = incoming.body.removeprefix(parameters.BOM)
        return bool(parameters.decode_json(body, _STREAMED).stream)
    except InvalidRequest:
        return False


def without_model(incoming: Incoming) -> Incoming:
    """The request without the model's name in query and form, which a wire would look up."""
    query = {name: value for name, value in incoming.query.items() if name != "model"}
    form = incoming.form
    if form is not None:
        fields = {name: value for name, value in form.fields.items() if name != "model"}
        form = Form(fields=fields, files=form.files)
    return msgspec.structs.replace(incoming, query=query, form=form)


def named_task(incoming: Incoming) -> Task | None:
    """The task of the header `X-OCR-Task`, in the hub's words.

    Raises:
        InvalidRequest: it names none; the message lists them.
    """
    word = incoming.headers.get(TASK_HEADER)
    if not word:
        return None
    try:
        return Task(word.strip().lower())
    except ValueError as error:
        raise InvalidRequest(
            f"{TASK_HEADER} must be one of {', '.join(Task)}, not {word[:80]!r}"
        ) from error


# ---- the operations


def _write_openai(call: openai.Call, result: Result, stamp: Stamp) -> Reply:
    return openai.write_result(call, result, stamp, media_type=lighton.MEDIA_TYPE)


OPENAI: Final = Operation(
    dialect="openai",
    wire=Wire.LIGHTON,
    path=openai.PATH,
    model=lighton.MODEL,
    read=openai.read_chat,
    write=_write_openai,
    writer=lighton.DeltaWriter,
    write_error=lighton.write_error,
)
DOTS: Final = Operation(
    dialect="dots",
    wire=Wire.DOTS,
    path=dots.PATH,
    model=dots.MODEL,
    read=dots.read_ocr,
    write=dots.write_result,
    writer=dots.DeltaWriter,
    write_error=dots.write_error,
)
DEEPSEEK: Final = Operation(
    dialect="deepseek",
    wire=Wire.DEEPSEEK,
    path=deepseek.OCR,
    model=deepseek.MODEL,
    read=deepseek.read_ocr,
    write=deepseek.write_result,
    write_error=deepseek.write_error,
)
_UPLOADED: Final = deepseek.Call(
    request=Request(model=deepseek.MODEL, task=Task.TEXT, pages=(BytesPage(b""),))
)


def _write_file_error(error: OcrError) -> Reply:
    """A bad image is named after the way it came."""
    return deepseek.write_error(error, _UPLOADED)


DEEPSEEK_FILE: Final = msgspec.structs.replace(
    DEEPSEEK, path=deepseek.FILE, read=deepseek.read_file, write_error=_write_file_error
)
DEEPSEEK_STREAM: Final = msgspec.structs.replace(
    DEEPSEEK_FILE,
    path=deepseek.STREAM,
    read=deepseek.read_stream,
    writer=deepseek_stream.DeltaWriter,
    always_streams=True,
)
CHATVLM: Final = Operation(
    dialect="chatvlm",
    wire=Wire.CHATVLM,
    path=chatvlm.OCR,
    model=chatvlm.MODEL_DEFAULT,
    read=chatvlm.read_ocr,
    write=chatvlm.write_result,
    write_error=chatvlm.write_error,
)
CHATVLM_CHAT: Final = msgspec.structs.replace(CHATVLM, path=chatvlm.CHAT, read=chatvlm.read_chat)
PADDLE: Final = Operation(
    dialect="paddle",
    wire=Wire.PADDLE,
    path=openai.PATH,
    model=paddle.MODEL,
    read=paddle.read_chat,
    write=paddle.write_result,
    write_error=paddle.write_error,
)
"""Spoken under `/paddle/` alone."""

OWN: Final = {
    (operation.wire, operation.path): operation
    for operation in (
        OPENAI,
        PADDLE,
        DOTS,
        DEEPSEEK,
        DEEPSEEK_FILE,
        DEEPSEEK_STREAM,
        CHATVLM,
        CHATVLM_CHAT,
    )
}


def own_operation(wire: Wire, method: str, path: str) -> Operation | None:
    """What a request of a service's own API asks for, where it asks for one page."""
    return OWN.get((wire, path)) if method == "POST" else None
