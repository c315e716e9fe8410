"""Values the wire tests share: a stamp, requests as a server receives them, every wire by name."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from shared.errors import (
    Busy,
    Cancelled,
    EngineFailed,
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
from shared.http import Form, Incoming, Outgoing, Upload
from shared.limits import MIB, Limits
from shared.ocr import Block, Category, Delta, Done, Stop, Text, Usage
from shared.wire import (
    chatvlm,
    deepseek,
    deepseek_stream,
    dots,
    fleet,
    lighton,
    openai,
    openai_stream,
    paddle,
)
from shared.wire.answers import Stamp

STAMP = Stamp(
    id=UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
    at=datetime(2025, 9, 13, 17, 28, 2, 123456, tzinfo=UTC),
    seconds=1.25,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)
PNG_BASE64 = base64.b64encode(PNG).decode()
PNG_URL = f"data:image/png;base64,{PNG_BASE64}"

LIMITS: Mapping[str, Limits] = {
    "openai": Limits(temperature=0.1, max_tokens=4096),
    "lighton": Limits(image_bytes_max=10 * MIB, slots=10, temperature=0.1, max_tokens=4096),
    "paddle": Limits(temperature=0.7, max_tokens=1024, max_tokens_max=4096),
    "dots": Limits(queue_max=0, temperature=0.1, max_tokens=12000),
    "deepseek": Limits(slots=100, temperature=0.0, max_tokens=8192, max_tokens_max=8192),
    "chatvlm": Limits(temperature=0.7, temperature_max=1.0, max_tokens=512),
}

WIRES: Mapping[str, Any] = {
    "openai": openai,
    "lighton": lighton,
    "paddle": paddle,
    "dots": dots,
    "deepseek": deepseek,
    "chatvlm": chatvlm,
}


def json_request(body: object, *, query: Mapping[str, str] | None = None) -> Incoming:
    """A JSON request; bytes go as they are."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Incoming(query=query or {}, headers={"content-type": "application/json"}, body=raw)


def form_request(
    fields: Mapping[str, str] | None = None,
    *,
    query: Mapping[str, str] | None = None,
    files: tuple[tuple[str, Upload], ...] = (("file", Upload(PNG, "page.png", "image/png")),),
) -> Incoming:
    """A multipart request with one page."""
    return Incoming(
        query=query or {},
        headers={"content-type": "multipart/form-data; boundary=x"},
        form=Form(fields=fields or {}, files=files),
    )


def received(outgoing: Outgoing) -> Incoming:
    """What a server makes of what a client sends."""
    return Incoming(
        method=outgoing.method,
        path=outgoing.path,
        query=outgoing.query,
        headers=outgoing.headers,
        body=outgoing.body,
        form=outgoing.form,
    )


def chat_body(text: str | None = "Extract all text from this image.", **fields: Any) -> object:
    """A chat request with one page, as the documents write it."""
    parts: list[object] = [] if text is None else [{"type": "text", "text": text}]
    parts.append({"type": "image_url", "image_url": {"url": PNG_URL}})
    return {"messages": [{"role": "user", "content": parts}], **fields}


def call_of(wire: str, *, stream: bool = False, **fields: Any) -> Any:
    """A plain call of each wire."""
    limits = LIMITS[wire]
    match wire:
        case "openai" | "lighton":
            body = chat_body(model="m", stream=stream, **fields)
            return WIRES[wire].read_chat(json_request(body), limits)
        case "paddle":
            return paddle.read_chat(json_request(chat_body(model=paddle.MODEL)), limits)
        case "dots":
            body = {"image": PNG_URL, "prompt_type": "prompt_ocr", "stream": stream}
            return dots.read_ocr(json_request(body), limits)
        case "deepseek":
            return deepseek.read_ocr(json_request({"image_base64": PNG_BASE64}), limits)
        case _:
            return chatvlm.read_ocr(form_request(), limits)


def stream_writer(wire: str) -> Any:
    """A writer of each format that streams; usage is wanted where it can be."""
    usage = {"stream_options": {"include_usage": True}}
    match wire:
        case "fleet":
            return fleet.DeltaWriter()
        case "openai":
            return openai_stream.DeltaWriter(call_of("openai", stream=True, **usage), STAMP)
        case "lighton":
            return lighton.DeltaWriter(call_of("lighton", stream=True, **usage), STAMP)
        case "dots":
            return dots.DeltaWriter(call_of("dots", stream=True), STAMP)
        case _:
            return deepseek_stream.DeltaWriter(call_of("deepseek"), STAMP)


def stream_reader(wire: str) -> Any:
    readers: Mapping[str, Any] = {
        "fleet": fleet.DeltaReader,
        "openai": openai_stream.DeltaReader,
        "lighton": lighton.DeltaReader,
        "dots": dots.DeltaReader,
        "deepseek": deepseek_stream.DeltaReader,
    }
    return readers[wire]()


STREAMS = ("openai", "lighton", "dots", "deepseek", "fleet")

DELTAS: tuple[Delta, ...] = (
    Text("# 제목\n\n"),
    Text("first line\nsecond"),
    Text("\n"),
    Text("  indented, trailing \n"),
    Text("naïve — 表 😀"),
    Done(stop=Stop.LENGTH, usage=Usage(150, 12)),
)

DONE_RICH = Done(
    stop=Stop.REPETITION,
    usage=Usage(7, 8),
    blocks=(
        Block(Category.TITLE, (1, 2, 30, 40), "제목", 0),
        Block(Category.PICTURE, (0, 0, 5, 5)),
    ),
    sizes=((640, 480),),
    notes=("Korean needs tesseract-ocr-kor",),
)

ERRORS: tuple[OcrError, ...] = (
    InvalidRequest("temperature must be between 0 and 2, got 3"),
    ImageTooLarge("the image is larger than 10 MiB"),
    UnsupportedImage("the image is cut short"),
    UnknownModel("Model 'x' not found. Available: got_ocr"),
    NotAllowed("This API key is not known here"),
    NoSuchRoute("/nope"),
    WrongMethod("GET", allow="POST"),
    ModelNotLoaded("Model not loaded"),
    Busy("the queue is full", retry_after_s=3),
    RateLimited("more than 60 requests a minute", retry_after_s=7),
    TimedOut("not read within 300 s"),
    Cancelled("the client went away"),
    EngineFailed("the engine broke"),
)


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))
