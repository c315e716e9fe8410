"""PaddleOCR-VL's format: a FastAPI flavour of OpenAI's, on port 8001, without streams.

The words of a request select a mode and nothing else; which fields a receipt has is the service's
business. Tasks this format has no words for are refused, not approximated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from shared.errors import (
    Busy,
    InvalidRequest,
    ModelNotLoaded,
    NoSuchRoute,
    NotAllowed,
    OcrError,
    RateLimited,
    TimedOut,
    WrongMethod,
)
from shared.http import Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import Request, Result, Task
from shared.wire import kinds, openai, parameters
from shared.wire.answers import Stamp, write_json, write_json_error
from shared.wire.openai import Call

__all__ = ("Call",)

MODEL: Final = "PaddlePaddle/PaddleOCR-VL"

OWNER: Final = "paddleocr"

ID_CHARS: Final = 24

ROLES: Final = frozenset({"system", "user", "assistant"})

NO_IMAGE: Final = "No image provided in request"

NOT_LOADED: Final = "Model not loaded"

MODES: Final = (
    (Task.RECEIPT, re.compile(r"\breceipts?\b", re.IGNORECASE)),
    (Task.INVOICE, re.compile(r"\binvoices?\b", re.IGNORECASE)),
    (Task.TABLE, re.compile(r"\btables?\b", re.IGNORECASE)),
    (Task.FORM, re.compile(r"\bforms?\b", re.IGNORECASE)),
)
"""Whole words, in the order of the document's table."""

ALL_TEXT: Final = re.compile(r"\ball\s+(the\s+)?text\b", re.IGNORECASE)
"""Words that ask for the whole page even where they mention its tables: the best-known client
writes "Extract all text from this image ... (headings, paragraphs, lists, tables)"."""

JSON_TASKS: Final = frozenset({Task.RECEIPT, Task.INVOICE, Task.FORM})
"""Modes whose answer is a JSON object, so that a client may ask for one."""

WORDS: Final[Mapping[Task, str]] = {
    Task.TEXT: "Extract text",
    Task.MARKDOWN: "Extract text as markdown",
    Task.RECEIPT: "Extract receipt information as JSON",
    Task.INVOICE: "Extract invoice information as JSON",
    Task.TABLE: "Extract tables as markdown",
    Task.FORM: "Extract form fields as JSON",
}
"""The document's words for each mode; plain text reads back as Markdown."""

read_result = openai.read_result


# ---- wire to hub


def read_chat(incoming: Incoming, limits: Limits) -> Call:
    """A chat request: the mode its words select, of the last image of the user's messages.

    Raises:
        InvalidRequest: it cannot be understood, has no image, or asks for a stream.
    """
    body = parameters.read_json(incoming, openai.BODIES)
    _check(body)
    words = openai.read_words(body.messages, "user")
    task = read_mode(words)
    openai.refuse_formats(body, *(("json_object",) if task in JSON_TASKS else ()))
    sampling = openai.read_sampling(body, limits, unlimited=False)
    asked = [message for message in body.messages if message.role == "user"]
    pages = openai.read_pages(asked, limits)
    if not pages:
        raise InvalidRequest(NO_IMAGE)
    request = Request(model=MODEL, task=task, pages=pages[-1:], prompt=words, sampling=sampling)
    return Call(request=request, model=body.model or MODEL, logprobs=bool(body.logprobs))


def read_mode(words: str) -> Task:
    """The mode that the user's words select."""
    whole_page = ALL_TEXT.search(words) is not None
    for task, pattern in MODES:
        if pattern.search(words) and not (task is Task.TABLE and whole_page):
            return task
    return Task.MARKDOWN


def read_error(reply: Reply) -> OcrError:
    """An error answer: `{"detail"}`, or `{"error","type"}` of a broken engine."""
    error = openai.read_error(reply)
    if kinds.read_kind(reply.headers) is None and reply.status == 503:
        return _unavailable(reply, error)
    return error


# ---- hub to wire


def write_request(request: Request) -> Outgoing:
    """A chat request in the client's words where they select the same mode, else in the document's.

    Raises:
        InvalidRequest: the format has no words for the task.
    """
    if not request.pages:
        raise InvalidRequest(NO_IMAGE)
    if request.task not in WORDS:
        raise InvalidRequest(f"{MODEL} has no mode for the task {request.task}")
    kept = bool(request.prompt) and read_mode(request.prompt) is request.task
    plain = msgspec.structs.replace(request, stream=False)
    return openai.write_request(plain, words=request.prompt if kept else WORDS[request.task])


def write_result(call: Call, result: Result, stamp: Stamp) -> Reply:
    return openai.write_result(call, result, stamp, id_chars=ID_CHARS)


def write_error(error: OcrError, call: Call | None = None) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """FastAPI's `{"detail"}`; what broke inside is `{"error","type"}`."""
    match error:
        case InvalidRequest():
            return write_json_error(error, {"detail": str(error)}, status=400)
        case NotAllowed():
            return write_json_error(error, {"detail": str(error)}, status=401)
        case NoSuchRoute():
            return write_json_error(error, {"detail": "Not Found"}, status=404)
        case WrongMethod():
            return write_json_error(error, {"detail": "Method Not Allowed"}, status=405)
        case ModelNotLoaded():
            return write_json_error(error, {"detail": NOT_LOADED}, status=503)
        case RateLimited():
            return write_json_error(error, {"detail": str(error)}, status=429)
        case Busy() | TimedOut():
            return write_json_error(error, {"detail": str(error)}, status=503)
        case _:
            body = {"error": str(error), "type": "RuntimeError"}
            return write_json_error(error, body, status=500)


def write_health(*, model_loaded: bool, device: str, memory_used_mb: float | None) -> Reply:
    """The health; while the model is not loaded, the documented 503."""
    if not model_loaded:
        return write_error(ModelNotLoaded(NOT_LOADED))
    return write_json(
        {
            "status": "healthy",
            "model_loaded": model_loaded,
            "device": device,
            "memory_used_mb": memory_used_mb,
        }
    )


def write_models() -> Reply:
    """The one model, exactly as documented: `created` is 0."""
    return openai.write_models([MODEL], created=0, owned_by=OWNER)


# ---- details


def _check(body: openai.Body) -> None:
    """Refuse what this port does not do; a request without messages is one without an image."""
    if not body.model:
        raise InvalidRequest("Object missing required field `model`")
    if body.stream:
        raise InvalidRequest("stream is not supported, it must be false")
    if not body.messages:
        raise InvalidRequest(NO_IMAGE)
    for message in body.messages:
        if message.role not in ROLES:
            raise InvalidRequest(f"role must be system, user or assistant, not {message.role}")
    openai.refuse_unheard(body)


def _unavailable(reply: Reply, error: OcrError) -> OcrError:
    """A 503 of the documented server: not loaded says so, busy has `retry-after`, else late."""
    if isinstance(error, Busy):
        return error
    if str(error) == NOT_LOADED:
        return ModelNotLoaded(NOT_LOADED)
    return kinds.restore(TimedOut, str(error), reply.headers)
