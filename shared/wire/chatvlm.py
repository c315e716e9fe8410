"""ChatVLMLLM's format: forms in, small JSON bodies out, seven models, no streams.

Reading is `/ocr`, everything else is words to `/chat`. Answers carry no usage and no stop reason;
`/ocr` alone carries the page's size. Plain text and Markdown are one task here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    UnknownModel,
    WrongMethod,
)
from shared.http import Form, Incoming, Outgoing, Reply, Upload
from shared.limits import Limits
from shared.ocr import (
    BytesPage,
    Request,
    Result,
    Sampling,
    Task,
)
from shared.wire import fastapi, kinds, parameters
from shared.wire.answers import Stamp, read_answer, write_json, write_json_error

OCR: Final = "/ocr"
CHAT: Final = "/chat"

MODEL_DEFAULT: Final = "qwen3_vl_2b"

QUERY_CHARS_MAX: Final = 2000
"""Longest prompt that is also put into the address: what every server and proxy still takes."""

WORDS: Final[Mapping[Task, str]] = {
    Task.TABLE: "Extract all tables from this image as Markdown tables.",
    Task.FORMULA: "Write the formulas in this image as LaTeX.",
    Task.CHART: "Extract the data of the chart in this image as a Markdown table.",
    Task.FIGURE: "Parse the figure in this image.",
    Task.RECEIPT: "Extract the receipt in this image as JSON.",
    Task.INVOICE: "Extract the invoice in this image as JSON.",
    Task.FORM: "Extract the fields of the form in this image as JSON.",
}
"""What to ask a chat model for, where the client has no words of its own."""


# ---- the format


class Model(msgspec.Struct, frozen=True):
    """One row of `/models`."""

    id: str
    name: str
    params: str


MODELS: Final = (
    Model("got_ocr", "GOT-OCR 2.0", "580M"),
    Model("qwen_vl_2b", "Qwen2-VL 2B", "2B"),
    Model("qwen_vl_7b", "Qwen2-VL 7B", "7B"),
    Model("qwen3_vl_2b", "Qwen3-VL 2B", "2B"),
    Model("qwen3_vl_4b", "Qwen3-VL 4B", "4B"),
    Model("qwen3_vl_8b", "Qwen3-VL 8B", "8B"),
    Model("dots_ocr", "dots.ocr", "1.7B"),
)


class Parameters(msgspec.Struct, kw_only=True):
    """What may stand in the query or in the form; the query wins."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


class Reading(msgspec.Struct):
    """The answer of `/ocr`."""

    text: str
    model: str
    processing_time: float
    image_size: tuple[int, int]
    language: str | None = None


class Talk(msgspec.Struct):
    """The answer of `/chat`."""

    response: str
    model: str
    processing_time: float
    prompt: str


class AnyAnswer(msgspec.Struct):
    """Either answer, as a client reads it."""

    text: str | None = None
    response: str | None = None
    image_size: tuple[int, int] | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what its answer has to repeat."""

    request: Request
    model: str
    language: str | None = None
    prompt: str = ""
    filename: str = ""


ANSWERS: Final = msgspec.json.Decoder(AnyAnswer)


# ---- wire to hub


def read_ocr(incoming: Incoming, limits: Limits) -> Call:
    """One file to be read. The document names no sampling here: what is absent, the model sets.

    Raises:
        InvalidRequest: no file, or a value out of range.
        UnknownModel: not one of the seven.
    """
    form = fastapi.read_form(incoming)
    given = read_parameters(incoming, form)
    return read_upload(fastapi.read_upload(form, "file"), given, limits)


def read_chat(incoming: Incoming, limits: Limits) -> Call:
    """A question about one file.

    Raises:
        InvalidRequest: no file, no prompt, or a value out of range.
        UnknownModel: not one of the seven.
    """
    form = fastapi.read_form(incoming)
    given = read_parameters(incoming, form)
    upload = fastapi.read_upload(form, "file")
    prompt = given.prompt or ""
    if not prompt.strip():
        raise InvalidRequest("prompt is required")
    request = Request(
        model=read_model(given.model),
        task=Task.CHAT,
        pages=(BytesPage(upload.data, upload.filename),),
        prompt=prompt,
        sampling=Sampling(
            temperature=parameters.read_temperature(given.temperature, limits),
            max_tokens=parameters.read_max_tokens(given.max_tokens, limits),
        ),
    )
    return Call(request=request, model=request.model, prompt=prompt, filename=upload.filename)


def read_parameters(incoming: Incoming, form: Form) -> Parameters:
    """What stands in the query and the form.

    Raises:
        InvalidRequest: a value of the wrong type.
    """
    return parameters.read_values(fastapi.merge(incoming.query, form), Parameters)


def read_upload(upload: Upload, given: Parameters, limits: Limits) -> Call:
    """One file to be read.

    Raises:
        InvalidRequest: a value out of range.
        UnknownModel: not one of the seven.
    """
    parameters.read_temperature(given.temperature, limits)
    parameters.read_max_tokens(given.max_tokens, limits)
    request = Request(
        model=read_model(given.model),
        task=Task.TEXT,
        pages=(BytesPage(upload.data, upload.filename),),
        language=given.language,
        sampling=Sampling(temperature=given.temperature, max_tokens=given.max_tokens),
    )
    return Call(
        request=request,
        model=request.model,
        language=given.language,
        filename=upload.filename,
    )


def read_model(name: str | None) -> str:
    """A model's id; the default when none is named.

    Raises:
        UnknownModel: not one of the seven.
    """
    if not name:
        return MODEL_DEFAULT
    names = [model.id for model in MODELS]
    if name not in names:
        raise UnknownModel(f"Model '{name}' not found. Available: {', '.join(names)}")
    return name


def read_result(reply: Reply) -> Result:
    """A server's answer to either question.

    Raises:
        OcrError: the answer is an error, or neither of the two.
    """
    if reply.status != 200:
        raise read_error(reply)
    answer = read_answer(reply.body, ANSWERS)
    text = answer.text if answer.response is None else answer.response
    sizes = () if answer.image_size is None else (answer.image_size,)
    return Result(text=text or "", sizes=sizes)


def read_error(reply: Reply) -> OcrError:
    """An error answer. 404 has three meanings here, told apart by their documented texts."""
    message = fastapi.read_detail(reply)
    kind = kinds.read_kind(reply.headers) or kinds.kind_of_status(reply.status, reply.headers)
    if kind is NoSuchRoute and message != "Not Found":
        kind = UnknownModel if "not found. Available:" in message else ModelNotLoaded
    return kinds.restore(kind, message, reply.headers)


# ---- hub to wire


def write_request(request: Request) -> Outgoing:
    """`/ocr` for text and Markdown, `/chat` for whatever can be put in words.

    The document names no sampling for `/ocr`; a server that knows none there passes it over. The
    original's first version reads `prompt` and `model` of `/chat` from the query alone, its
    later ones from the form alone, so they are sent in both.

    Raises:
        InvalidRequest: no page, a page that is no file, or a task that words cannot carry.
    """
    if request.task in {Task.TEXT, Task.MARKDOWN}:
        named = {"model": request.model, "language": request.language}
        query = {name: value for name, value in named.items() if value}
        query |= _write_sampling(request.sampling)
        return Outgoing(path=OCR, query=query, form=_write_form(request, {}))
    words = request.prompt or WORDS.get(request.task, "")
    if request.task not in WORDS and request.task is not Task.CHAT:
        raise InvalidRequest(f"{request.model} has no words for the task {request.task}")
    fields = {"prompt": words, "model": request.model}
    query = _write_sampling(request.sampling)
    if len(words) <= QUERY_CHARS_MAX:
        query = fields | query
    return Outgoing(path=CHAT, query=query, form=_write_form(request, fields))


def write_result(call: Call, result: Result, stamp: Stamp) -> Reply:
    """The answer of `/chat` where something was asked, else of `/ocr`."""
    if call.request.task is Task.CHAT:
        return write_json(Talk(result.text, call.model, stamp.seconds, call.prompt))
    # Every engine tells the size of a page; without a page there is none.
    size = result.sizes[0] if result.sizes else (0, 0)
    return write_json(Reading(result.text, call.model, stamp.seconds, size, call.language))


def write_error(error: OcrError, call: Call | None = None) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """FastAPI's `{"detail"}`."""
    return write_json_error(error, {"detail": write_message(error)}, status=_status(error))


def write_message(error: OcrError) -> str:
    """The public words of an error."""
    match error:
        case NoSuchRoute():
            return "Not Found"
        case WrongMethod():
            return "Method Not Allowed"
        case _:
            return str(error)


def write_root() -> Reply:
    return write_json(
        {
            "message": "ChatVLMLLM API",
            "version": "1.0.0",
            "docs": "/docs",
            "health": "/health",
        }
    )


def write_health(*, gpu_available: bool, gpu_name: str | None, loaded: Sequence[str]) -> Reply:
    return write_json(
        {
            "status": "healthy",
            "gpu_available": gpu_available,
            "gpu_name": gpu_name,
            "models_loaded": len(loaded),
            "loaded_models": list(loaded),
        }
    )


def write_models(*, loaded: Sequence[str]) -> Reply:
    return write_json({"available": MODELS, "loaded": list(loaded)})


def write_unloaded(model: str) -> Reply:
    """The answer of DELETE."""
    return write_json({"status": "success", "message": f"Model {model} unloaded"})


def not_loaded(model: str) -> ModelNotLoaded:
    """What DELETE says of a model that is not in memory."""
    return ModelNotLoaded(f"Model {model} not loaded")


# ---- details


def _write_form(request: Request, fields: Mapping[str, str]) -> Form:
    if not request.pages:
        raise InvalidRequest("file is required")
    return Form(fields=fields, files=(("file", fastapi.write_upload(request.pages[0])),))


def _write_sampling(sampling: Sampling) -> dict[str, str]:
    values = {
        "temperature": sampling.temperature,
        "max_tokens": None if sampling.max_tokens == -1 else sampling.max_tokens,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _status(error: OcrError) -> int:
    match error:
        case NotAllowed():
            return 401
        case UnknownModel() | ModelNotLoaded() | NoSuchRoute():
            return 404
        case ImageTooLarge():
            return 413
        case InvalidRequest():
            return 400
        case WrongMethod():
            return 405
        case RateLimited():
            return 429
        case Busy():
            return 503
        case _:
            return 500
