"""DotsOCR's format: JSON as Flask writes it, streams as lines of JSON.

Knows four prompt types and no chat. Answers carry neither usage nor stop reason, and layout stays
the text the model writes. A failure inside a stream keeps its message but not its kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from shared import base64s
from shared.errors import (
    Busy,
    EngineFailed,
    InvalidRequest,
    ModelNotLoaded,
    NoSuchRoute,
    NotAllowed,
    OcrError,
    RateLimited,
    UnknownModel,
    WrongMethod,
)
from shared.framing import LineReader
from shared.http import JSON, NDJSON, Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import (
    Box,
    BytesPage,
    Delta,
    Done,
    EncodedPage,
    Page,
    PathPage,
    Request,
    Result,
    Sampling,
    Task,
    Text,
    UrlPage,
)
from shared.wire import kinds, parameters
from shared.wire.answers import Stamp, read_answer
from shared.wire.streams import StreamReader

PATH: Final = "/ocr"

MODEL: Final = "dots-ocr"

PROMPT_TYPES: Final[Mapping[str, Task]] = {
    "prompt_layout_all_en": Task.LAYOUT,
    "prompt_layout_only_en": Task.LAYOUT_ONLY,
    "prompt_ocr": Task.TEXT,
    "prompt_grounding_ocr": Task.REGION,
}

WRITTEN: Final[Mapping[Task, str]] = {
    **{task: name for name, task in PROMPT_TYPES.items()},
    Task.MARKDOWN: "prompt_ocr",
}
"""Markdown is what this model writes when asked for text; it reads back as plain text."""

PATH_CHARS_MAX: Final = 4096
"""Linux's PATH_MAX: a longer "path" is base64 sent without `image_format`."""

EMPTY_BYTES_MAX: Final = 16
"""A body longer than this is not one of Flask's empty values: null, {}, [], 0, "" or false."""

NO_DATA: Final = "No JSON data provided"
NO_IMAGE: Final = "No image data provided"
NOT_LOADED: Final = "Model not loaded"
BUSY: Final = "Server is busy processing another request"
BAD_TYPE: Final = f"Invalid prompt_type. Must be one of: {list(PROMPT_TYPES)}"


# ---- the format


class Body(msgspec.Struct, omit_defaults=True):
    """A request."""

    image: str | None = None
    image_format: str | None = None
    prompt_type: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    stream: bool | None = None


class Line(msgspec.Struct):
    """An answer, a line of a stream, or an error."""

    response: str = ""
    done: bool = False
    error: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what its answer has to repeat."""

    request: Request
    prompt_type: str


BODIES: Final = msgspec.json.Decoder(Body, strict=False)
LINES: Final = msgspec.json.Decoder(Line)


# ---- wire to hub


def read_ocr(incoming: Incoming, limits: Limits) -> Call:
    """A page to be read; checked in the order of the original server.

    Raises:
        InvalidRequest: it cannot be understood, or a value is out of range.
    """
    body = _body(incoming)
    if not body.image:
        raise InvalidRequest(NO_IMAGE)
    prompt_type = "prompt_layout_all_en" if body.prompt_type is None else body.prompt_type
    if prompt_type not in PROMPT_TYPES:
        raise InvalidRequest(BAD_TYPE)
    task = PROMPT_TYPES[prompt_type]
    request = Request(
        model=MODEL,
        task=task,
        pages=(_page(body.image, body.image_format or "path"),),
        sampling=_sampling(body, limits),
        box=_box(body.bbox) if task is Task.REGION and body.bbox is not None else None,
        stream=bool(body.stream),
    )
    return Call(request=request, prompt_type=prompt_type)


def read_result(reply: Reply) -> Result:
    """A server's whole answer.

    Raises:
        OcrError: the answer is an error, or not of this format.
    """
    if reply.status != 200:
        raise read_error(reply)
    line = read_answer(reply.body, LINES)
    if line.error is not None:
        raise EngineFailed(line.error)
    return Result(text=line.response)


def read_error(reply: Reply) -> OcrError:
    """An error answer; 500 `Model not loaded` is told apart by its documented text."""
    try:
        message = LINES.decode(reply.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = None
    kind = kinds.read_kind(reply.headers) or kinds.kind_of_status(reply.status, reply.headers)
    if kind is EngineFailed and message == NOT_LOADED:
        kind = ModelNotLoaded
    return kinds.restore(
        kind, message or f"the model server answered {reply.status}", reply.headers
    )


class DeltaReader(StreamReader[bytes]):
    """Reads lines as hub deltas."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(LineReader())

    def _read(self, item: bytes) -> list[Delta]:
        if not item.strip():
            return []
        line = read_answer(item, LINES)
        if line.error is not None:
            raise EngineFailed(line.error)
        deltas: list[Delta] = [Text(line.response)] if line.response else []
        if line.done:
            deltas.append(Done())
        return deltas


# ---- hub to wire


def write_request(request: Request) -> Outgoing:
    """A request by prompt type.

    Raises:
        InvalidRequest: no page, or a task this model has no prompt type for.
    """
    if not request.pages:
        raise InvalidRequest(NO_IMAGE)
    if request.task not in WRITTEN:
        raise InvalidRequest(f"{MODEL} has no prompt type for the task {request.task}")
    image, image_format = _write_page(request.pages[0])
    sampling = request.sampling
    body = Body(
        image=image,
        image_format=image_format,
        prompt_type=WRITTEN[request.task],
        bbox=request.box,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=None if sampling.max_tokens == -1 else sampling.max_tokens,
        stream=request.stream,
    )
    return Outgoing(path=PATH, headers={"content-type": JSON}, body=msgspec.json.encode(body))


def write_result(call: Call, result: Result, stamp: Stamp) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """A whole answer."""
    body = {"model": MODEL, "response": result.text, "prompt_type": call.prompt_type}
    return _reply(body)


def write_error(error: OcrError, call: Call | None = None) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """Flask's `{"error"}`."""
    status, message = _status(error)
    headers = kinds.write_headers(error)
    return msgspec.structs.replace(_reply({"error": message}), status=status, headers=headers)


def write_health(*, model_loaded: bool) -> Reply:
    """The health; its status is fixed, the document says."""
    return _reply({"status": "healthy", "model_loaded": model_loaded})


class DeltaWriter:
    """Writes hub deltas as lines of JSON."""

    media_type: ClassVar[str] = NDJSON

    __slots__ = ("_at",)

    def __init__(self, call: Call, stamp: Stamp) -> None:  # noqa: ARG002 (one signature for all wires)
        self._at = stamp.at

    def start(self) -> bytes:
        return b""

    def write(self, delta: Delta, at: datetime | None = None) -> bytes:
        """The line of one delta, made `at` that time; the last line has no text."""
        match delta:
            case Text(text):
                return self._line(text, at, done=False) if text else b""
            case Done():
                return self._line("", at, done=True)

    def fail(self, error: OcrError) -> bytes:
        """The last line of a stream that broke."""
        return _line({"model": MODEL, "error": _status(error)[1], "done": True})

    def _line(self, text: str, at: datetime | None, *, done: bool) -> bytes:
        created_at = (at or self._at).replace(tzinfo=None).isoformat(timespec="microseconds")
        return _line({"model": MODEL, "created_at": created_at, "response": text, "done": done})


# ---- details


def _body(incoming: Incoming) -> Body:
    parameters.check_json_type(incoming)
    if _is_empty(incoming.body.removeprefix(parameters.BOM)):
        raise InvalidRequest(NO_DATA)
    return parameters.read_json(incoming, BODIES)


def _is_empty(body: bytes) -> bool:
    """Whether Flask would see a body as no data: nothing, or a value that counts as false."""
    body = body.strip()
    if not body or len(body) > EMPTY_BYTES_MAX:
        return not body
    try:
        return not msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _page(image: str, image_format: str) -> Page:
    """Where the image is. The original hands a "path" on to a reader of addresses of all kinds."""
    if image_format not in {"path", "url", "base64"}:
        raise InvalidRequest(f"Unsupported image format: {image_format}")
    if base64s.is_data_url(image) or image_format == "base64":
        return EncodedPage(image)
    if image[:8].lower().startswith(("http://", "https://")):
        return UrlPage(image)
    if image_format == "url":
        raise InvalidRequest("A url must begin with http:// or https://")
    if len(image) > PATH_CHARS_MAX:
        return EncodedPage(image)
    return PathPage(image.removeprefix("file://"))


def _sampling(body: Body, limits: Limits) -> Sampling:
    parameters.check_range("top_p", body.top_p, 0, 1)
    return Sampling(
        temperature=parameters.read_temperature(body.temperature, limits),
        top_p=limits.top_p if body.top_p is None else body.top_p,
        max_tokens=parameters.read_max_tokens(body.max_new_tokens, limits, name="max_new_tokens"),
    )


def _box(bbox: tuple[float, float, float, float]) -> Box:
    for value in bbox:
        parameters.check_range("bbox", value, 0, parameters.TOKENS_MAX)
    left, top, right, bottom = (round(value) for value in bbox)
    if right <= left or bottom <= top:
        raise InvalidRequest("bbox must be [x1, y1, x2, y2] with x1 < x2 and y1 < y2")
    return left, top, right, bottom


def _write_page(page: Page) -> tuple[str, str]:
    """A page and its format. A data URL goes as a path: all versions of the original read it so."""
    match page:
        case EncodedPage() | BytesPage():
            return base64s.write_data_url(page), "path"
        case UrlPage(url):
            return url, "url"
        case PathPage(path):
            return path, "path"


def _reply(body: Mapping[str, object]) -> Reply:
    """As Flask's jsonify: keys sorted, ASCII, compact, one newline."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":")) + "\n"
    return Reply(body=text.encode("ascii"))


def _line(body: Mapping[str, object]) -> bytes:
    """As Python's json writes a line: spaces after colon and comma, ASCII."""
    return json.dumps(body).encode("ascii") + b"\n"


def _status(error: OcrError) -> tuple[int, str]:  # noqa: PLR0911 - one line per kind
    match error:
        case UnknownModel():
            return 404, str(error)
        case InvalidRequest():
            return 400, str(error)
        case NotAllowed():
            return 401, str(error)
        case NoSuchRoute():
            return 404, "Not Found"
        case WrongMethod():
            return 405, "Method Not Allowed"
        case RateLimited():
            return 429, str(error)
        case Busy():
            return 429, BUSY
        case ModelNotLoaded():
            return 500, NOT_LOADED
        case _:
            return 500, str(error)
