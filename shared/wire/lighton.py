"""LightOnOCR's format: llama-server's flavour of OpenAI's, on port 8080.

Every image with any words is read as Markdown; the answer always names the one model. The public
text of a bad image is fixed by the format, so its reason does not survive.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from shared.errors import (
    Busy,
    ImageTooLarge,
    InvalidRequest,
    ModelNotLoaded,
    NoSuchRoute,
    NotAllowed,
    OcrError,
    RateLimited,
    TimedOut,
    UnknownModel,
    UnsupportedImage,
    WrongMethod,
)
from shared.http import SSE, Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import Request, Result
from shared.wire import openai, openai_stream
from shared.wire.answers import Stamp, write_json, write_json_error
from shared.wire.openai import Call
from shared.wire.openai_stream import DeltaReader

__all__ = ("Call", "DeltaReader", "DeltaWriter")

MODEL: Final = "LightOnOCR-1B-1025"

OWNER: Final = "lightonai"

MEDIA_TYPE: Final = "application/json; charset=utf-8"

WORDS: Final = "Extract all text from this image."
"""What the document's examples ask."""

NOT_AN_IMAGE: Final = "Failed to load image or audio file"

read_result = openai.read_result
read_error = openai.read_error


# ---- wire to hub


def read_chat(incoming: Incoming, limits: Limits) -> Call:
    """A chat request, whatever model it names.

    Raises:
        InvalidRequest: it cannot be understood, or asks for what is not done.
    """
    call = openai.read_chat(incoming, limits)
    request = msgspec.structs.replace(call.request, model=MODEL)
    return msgspec.structs.replace(call, request=request, model=MODEL)


# ---- hub to wire


def write_request(request: Request) -> Outgoing:
    """A chat request in the document's words, unless the client has its own.

    `max_tokens` of -1 is left out: absent it means 4096 here.
    """
    words = request.prompt or (WORDS if request.pages else "")
    return openai.write_request(request, words=words)


def write_result(call: Call, result: Result, stamp: Stamp) -> Reply:
    return openai.write_result(call, result, stamp, media_type=MEDIA_TYPE)


def write_error(error: OcrError, call: Call | None = None) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """llama-server's error object: `code` is the status."""
    status, kind = _status(error)
    message = _message(error)
    body = {"error": {"message": message, "type": kind, "code": status}}
    return write_json_error(error, body, status=status, media_type=MEDIA_TYPE)


def write_health() -> Reply:
    """The health of a service that can serve; one that cannot answers with an error."""
    return write_json({"status": "ok"}, media_type=MEDIA_TYPE)


def write_models(*, created: int) -> Reply:
    """The one model; `object: list`, which the document leaves out, is what SDKs need."""
    reply = openai.write_models([MODEL], created=created, owned_by=OWNER)
    return msgspec.structs.replace(reply, media_type=MEDIA_TYPE)


class DeltaWriter(openai_stream.DeltaWriter):
    """Chunks whose failures are worded as `write_error` words them."""

    media_type: ClassVar[str] = SSE

    __slots__ = ()

    def __init__(self, call: Call, stamp: Stamp) -> None:
        super().__init__(call, stamp, write_error=write_error)


# ---- details


def _message(error: OcrError) -> str:
    match error:
        case UnsupportedImage():
            return NOT_AN_IMAGE
        case NoSuchRoute():
            return "File Not Found"
        case WrongMethod():
            return "Method Not Allowed"
        case _:
            return str(error)


def _status(error: OcrError) -> tuple[int, str]:  # noqa: PLR0911 - one line per kind
    match error:
        case ImageTooLarge():
            return 413, "invalid_request_error"
        case UnknownModel():
            return 404, "not_found_error"
        case InvalidRequest():
            return 400, "invalid_request_error"
        case NotAllowed():
            return 401, "authentication_error"
        case NoSuchRoute():
            return 404, "not_found_error"
        case WrongMethod():
            return 405, "invalid_request_error"
        case TimedOut():
            return 408, "timeout_error"
        case RateLimited():
            return 429, "rate_limit_error"
        case Busy() | ModelNotLoaded():
            return 503, "unavailable_error"
        case _:
            return 500, "server_error"
