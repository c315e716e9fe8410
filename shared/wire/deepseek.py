"""DeepSeek-OCR's format: one page as JSON or as a form, answers with an id and a time.

A prompt in the model's own words selects the task. Answers carry neither usage nor stop reason, and
layout stays in the model's ref/det tags. Batches and streams have their own modules.
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
    UnknownModel,
    UnsupportedImage,
    WrongMethod,
)
from shared.http import JSON, Form, Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import BytesPage, EncodedPage, Page, Request, Result, Sampling, Task
from shared.wire import fastapi, kinds, parameters
from shared.wire.answers import Stamp, read_answer, write_json, write_json_error

OCR: Final = "/ocr"
FILE: Final = "/ocr/file"
STREAM: Final = "/ocr/stream"

MODEL: Final = "deepseek-ocr"

PROMPT_DEFAULT: Final = "<image>\n<|grounding|>Convert the document to markdown."

IMAGE: Final = "<image>"
GROUNDING: Final = "<|grounding|>"
PHRASE: Final = re.compile(r"<\|ref\|>(.*?)<\|/ref\|>", re.DOTALL)

PROMPTS: Final[Mapping[str, Task]] = {
    "free ocr": Task.TEXT,
    "ocr this image": Task.TEXT,
    "convert the document to markdown": Task.MARKDOWN,
    "parse the figure": Task.FIGURE,
}
"""What prompts begin with, but for case and the last stop. Any others are a chat."""

WORDS: Final[Mapping[Task, str]] = {
    Task.TEXT: "Free OCR.",
    Task.MARKDOWN: "Convert the document to markdown.",
    Task.LAYOUT: "Convert the document to markdown.",
    Task.FIGURE: "Parse the figure.",
    Task.CHART: "Parse the figure.",
    Task.CHAT: "Describe this image in detail.",
}
"""The document's words for each task; a chart reads back as a figure."""

NGRAM_SIZE: Final = 30
WINDOW_SIZE: Final = 90
NGRAM_SIZE_MAX: Final = 100
WINDOW_SIZE_MAX: Final = 200

SIDE_PX_MAX: Final = 10_000
"""Largest `base_size` and `image_size`: a square of this side is the most pixels of a page."""

NO_IMAGE: Final = "image_base64 is required"
NOT_LOADED: Final = "Model not loaded"
BAD_BASE64: Final = "Invalid base64 image: "
BAD_FILE: Final = "Invalid image file: "


# ---- the format


class Parameters(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What may stand in the query, in a form and in JSON; the query wins."""

    image_base64: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    ngram_size: int | None = None
    window_size: int | None = None
    crop_mode: bool | None = None
    base_size: int | None = None
    image_size: int | None = None


class Answer(msgspec.Struct):
    """A whole answer."""

    request_id: str
    text: str
    processing_time: float
    status: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request. Its answer repeats nothing of it."""

    request: Request


BODIES: Final = msgspec.json.Decoder(Parameters, strict=False)
ANSWERS: Final = msgspec.json.Decoder(Answer)


# ---- wire to hub


def read_ocr(incoming: Incoming, limits: Limits, *, prompt: str = PROMPT_DEFAULT) -> Call:
    """A page as base64 in JSON; a form is read too. `prompt` is for who sends none.

    Raises:
        InvalidRequest: it cannot be understood, or a value is out of range.
    """
    if incoming.form is not None:
        return read_file(incoming, limits, prompt=prompt)
    given = override(parameters.read_json(incoming, BODIES), incoming.query)
    if not given.image_base64:
        raise InvalidRequest(NO_IMAGE)
    return Call(request=read_parameters(given, EncodedPage(given.image_base64), limits, prompt))


def read_file(incoming: Incoming, limits: Limits, *, prompt: str = PROMPT_DEFAULT) -> Call:
    """A page as an uploaded file.

    Raises:
        InvalidRequest: no file, or a value is out of range.
    """
    form = fastapi.read_form(incoming)
    given = override(parameters.read_values(form.fields, Parameters), incoming.query)
    return Call(request=read_parameters(given, _read_page(form, given), limits, prompt))


def read_stream(incoming: Incoming, limits: Limits, *, prompt: str = PROMPT_DEFAULT) -> Call:
    """An uploaded file whose text is to come as it is read.

    Raises:
        InvalidRequest: no file, or a value is out of range.
    """
    call = read_ocr(incoming, limits, prompt=prompt)
    return Call(request=msgspec.structs.replace(call.request, stream=True))


def override(given: Parameters, query: Mapping[str, str]) -> Parameters:
    """What stands in the query wins."""
    said = parameters.read_values(query, Parameters)
    return msgspec.structs.replace(
        given,
        **{
            name: value for name, value in msgspec.structs.asdict(said).items() if value is not None
        },
    )


def read_parameters(given: Parameters, page: Page, limits: Limits, prompt: str) -> Request:
    """A request for one page, its values checked and the absent ones filled in.

    Raises:
        InvalidRequest: a value is out of range.
    """
    for name, value, high in (
        ("ngram_size", given.ngram_size, NGRAM_SIZE_MAX),
        ("window_size", given.window_size, WINDOW_SIZE_MAX),
        ("base_size", given.base_size, SIDE_PX_MAX),
        ("image_size", given.image_size, SIDE_PX_MAX),
    ):
        parameters.check_range(name, value, 1, high)
    task, words, phrase = read_prompt(given.prompt or prompt)
    sampling = Sampling(
        temperature=parameters.read_temperature(given.temperature, limits),
        max_tokens=parameters.read_max_tokens(given.max_tokens, limits),
        ngram_size=NGRAM_SIZE if given.ngram_size is None else given.ngram_size,
        window_size=WINDOW_SIZE if given.window_size is None else given.window_size,
        crop_mode=given.crop_mode,
        base_size=given.base_size,
        image_size=given.image_size,
    )
    return Request(
        model=MODEL, task=task, pages=(page,), prompt=words, phrase=phrase, sampling=sampling
    )


def read_prompt(prompt: str) -> tuple[Task, str, str | None]:
    """The task of a prompt, the words the task does not say, and the phrase to locate.

    `<image>` is optional. Forms and HTML attributes send the two characters backslash and n.
    """
    prompt = prompt.replace("\\n", "\n")
    words = prompt.replace(IMAGE, "").replace(GROUNDING, "").strip()
    phrase = PHRASE.search(words)
    if phrase is not None:
        return Task.LOCATE, "", phrase[1].strip()
    folded = " ".join(words.casefold().split()).rstrip(".")
    start = next((start for start in PROMPTS if folded.startswith(start)), "")
    if GROUNDING in prompt:
        told = folded in {"", "convert the document to markdown"}
        return Task.LAYOUT, "" if told else words, None
    if not folded:
        return Task.TEXT, "", None
    if not start:
        return Task.CHAT, words, None
    return PROMPTS[start], "" if folded == start else words, None


def read_result(reply: Reply) -> Result:
    """A server's whole answer.

    Raises:
        OcrError: the answer is an error, or not of this format.
    """
    if reply.status != 200:
        raise read_error(reply)
    return Result(text=read_answer(reply.body, ANSWERS).text)


def read_error(reply: Reply) -> OcrError:
    """An error answer. 503 is not loaded when it says so, busy with `retry-after`, else late."""
    message = fastapi.read_detail(reply)
    kind = kinds.read_kind(reply.headers) or kinds.kind_of_status(reply.status, reply.headers)
    if kind is InvalidRequest and message.startswith((BAD_BASE64, BAD_FILE)):
        kind = UnsupportedImage
    if kind is UnsupportedImage:
        message = message.removeprefix(BAD_BASE64).removeprefix(BAD_FILE)
    if kind is ModelNotLoaded and message != NOT_LOADED:
        kind = TimedOut
    return kinds.restore(kind, message, reply.headers)


# ---- hub to wire


def write_request(request: Request) -> Outgoing:
    """JSON for a page that is base64 already; a form for a file, or when a stream is wanted.

    The original reads a form's parameters from the query alone, so there they stand.

    Raises:
        InvalidRequest: no page, a page that is no file, or a task without words here.
    """
    if not request.pages:
        raise InvalidRequest(NO_IMAGE)
    given = write_parameters(request)
    match request.pages[0]:
        case EncodedPage(data) if not request.stream:
            given.image_base64 = data
            return Outgoing(
                path=OCR, headers={"content-type": JSON}, body=msgspec.json.encode(given)
            )
        case page:
            return Outgoing(
                path=STREAM if request.stream else FILE,
                query=_write_query(given),
                form=Form(files=(("file", fastapi.write_upload(page)),)),
            )


def write_parameters(request: Request) -> Parameters:
    """All but the page."""
    sampling = request.sampling
    return Parameters(
        prompt=write_prompt(request),
        temperature=sampling.temperature,
        max_tokens=None if sampling.max_tokens == -1 else sampling.max_tokens,
        ngram_size=sampling.ngram_size,
        window_size=sampling.window_size,
        crop_mode=sampling.crop_mode,
        base_size=sampling.base_size,
        image_size=sampling.image_size,
    )


def write_prompt(request: Request) -> str:
    """The client's words where they mean the same task here, else the document's.

    Raises:
        InvalidRequest: the model knows no words for the task.
    """
    if request.task is Task.LOCATE:
        return f"{IMAGE}\nLocate <|ref|>{request.phrase or ''}<|/ref|> in the image."
    if request.task not in WORDS:
        raise InvalidRequest(f"{MODEL} has no prompt for the task {request.task}")
    head = f"{IMAGE}\n{GROUNDING}" if request.task is Task.LAYOUT else f"{IMAGE}\n"
    own = head + request.prompt
    return (
        own
        if request.prompt and read_prompt(own)[0] is request.task
        else head + WORDS[request.task]
    )


def write_result(call: Call, result: Result, stamp: Stamp) -> Reply:  # noqa: ARG001 (one signature for all wires)
    return write_json(answer_of(result, stamp))


def answer_of(result: Result, stamp: Stamp) -> Answer:
    """The body of a whole answer."""
    return Answer(str(stamp.id), result.text, stamp.seconds, "success")


def write_error(error: OcrError, call: Call | None = None) -> Reply:
    """FastAPI's `{"detail"}`. A bad image is named after the way it came."""
    return write_json_error(error, {"detail": write_message(error, call)}, status=_status(error))


def write_message(error: OcrError, call: Call | None = None) -> str:
    """The public words of an error."""
    match error:
        case UnsupportedImage():
            page = call.request.pages[0] if call is not None else None
            return (BAD_FILE if isinstance(page, BytesPage) else BAD_BASE64) + str(error)
        case NoSuchRoute():
            return "Not Found"
        case WrongMethod():
            return "Method Not Allowed"
        case ModelNotLoaded():
            return NOT_LOADED
        case _:
            return str(error)


def write_health(*, model_loaded: bool, gpu_available: bool, timestamp: float) -> Reply:
    """The health: 200 even when the model is not loaded."""
    return write_json(
        {
            "status": "healthy" if model_loaded else "unhealthy",
            "model_loaded": model_loaded,
            "gpu_available": gpu_available,
            "timestamp": timestamp,
        }
    )


# ---- details


def _read_page(form: Form, given: Parameters) -> Page:
    if given.image_base64 and not form.files:
        return EncodedPage(given.image_base64)
    upload = fastapi.read_upload(form, "file")
    return BytesPage(upload.data, upload.filename)


def _write_query(given: Parameters) -> dict[str, str]:
    values = msgspec.to_builtins(given)
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }


def _status(error: OcrError) -> int:
    match error:
        case UnknownModel():
            return 404
        case InvalidRequest():
            return 400
        case NotAllowed():
            return 401
        case NoSuchRoute():
            return 404
        case WrongMethod():
            return 405
        case RateLimited():
            return 429
        case Busy() | ModelNotLoaded() | TimedOut():
            return 503
        case _:
            return 500
