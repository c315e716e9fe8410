"""Errors of chat completions: OpenAI's error object, and what its many imitators send instead.

Every kind survives between servers of the fleet; of another server, what its status says.
"""

from __future__ import annotations

from typing import Final

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
    WrongMethod,
)
from shared.http import Reply
from shared.wire import kinds
from shared.wire.answers import write_json_error


class Failure(msgspec.Struct):
    """What went wrong. `code` is a number for llama-server, a word or null for OpenAI."""

    message: str = ""
    type: str | None = None
    code: int | str | None = None


class FailureBody(msgspec.Struct):
    """An error answer; servers that speak this format also say `{"detail"}` or `{"message"}`."""

    error: Failure | str | None = None
    detail: object = None
    message: str | None = None


FAILURES: Final = msgspec.json.Decoder(FailureBody)


def read_error(reply: Reply) -> OcrError:
    """An error answer of any server that speaks this format, or nearly."""
    failure = _failure(reply)
    kind = kinds.read_kind(reply.headers) or kinds.kind_of_status(reply.status, reply.headers)
    if kind is NoSuchRoute and "model_not_found" in {failure.code, failure.type}:
        kind = UnknownModel
    message = failure.message or f"the model server answered {reply.status}"
    return kinds.restore(kind, message, reply.headers)


def write_error(error: OcrError, call: object = None) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """OpenAI's own error object."""
    status, kind, code = _status(error)
    body = {"error": {"message": str(error), "type": kind, "param": None, "code": code}}
    return write_json_error(error, body, status=status)


def _failure(reply: Reply) -> Failure:
    try:
        body = FAILURES.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure()
    if isinstance(body.error, Failure):
        return body.error
    detail = body.detail
    if detail is not None and not isinstance(detail, str):
        detail = msgspec.json.encode(detail).decode()
    return Failure(body.error or detail or body.message or "")


def _status(error: OcrError) -> tuple[int, str, str | None]:  # noqa: PLR0911 - one line per kind
    """Status, `type` and `code` as OpenAI's own service words them."""
    match error:
        case UnknownModel():
            return 404, "invalid_request_error", "model_not_found"
        case ImageTooLarge():
            return 413, "invalid_request_error", "image_too_large"
        case InvalidRequest():
            return 400, "invalid_request_error", None
        case NotAllowed():
            return 401, "authentication_error", "invalid_api_key"
        case NoSuchRoute():
            return 404, "not_found_error", None
        case WrongMethod():
            return 405, "invalid_request_error", None
        case TimedOut():
            return 408, "timeout_error", None
        case RateLimited():
            return 429, "rate_limit_error", "rate_limit_exceeded"
        case Busy() | ModelNotLoaded():
            return 503, "unavailable_error", None
        case _:
            return 500, "server_error", None
