"""Requests of every operation of every dialect, as bytes: the service that speaks it, and one that
does not."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.samples import PAGE, data_url, png

WIRES = ("lighton", "paddle", "dots", "deepseek", "chatvlm")
MODELS = {
    "lighton": "LightOnOCR-1B-1025",
    "paddle": "PaddlePaddle/PaddleOCR-VL",
    "dots": "dots-ocr",
    "deepseek": "deepseek-ocr",
    "chatvlm": "qwen3_vl_2b",
}
BOUNDARY = "an-honest-boundary"


@dataclass(frozen=True)
class Ask:
    """One operation of a dialect, the service that speaks it, and one that does not."""

    name: str
    path: str
    body: bytes
    media_type: str = "application/json"
    own: str = ""
    other: str = ""
    frame: bytes = b""
    """A first frame of its stream; none: a whole answer."""
    stream_type: str = ""

    def message(self, service: str, body: bytes | None = None) -> bytes:
        """The whole request for a service's model."""
        body = self.body if body is None else body
        lines = [
            f"POST {self.path} HTTP/1.1",
            "host: router",
            f"content-type: {self.media_type}",
            f"x-ocr-model: {MODELS[service]}",
            f"content-length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def form(*parts: tuple[str, str | bytes]) -> bytes:
    """Bytes are files."""
    body = b""
    for name, value in parts:
        is_file = isinstance(value, bytes)
        filename = '; filename="a.png"\r\ncontent-type: image/png' if is_file else ""
        data = value if isinstance(value, bytes) else value.encode()
        body += f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"'.encode()
        body += filename.encode() + b"\r\n\r\n" + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def _chat(*, stream: bool) -> bytes:
    parts = [{"type": "image_url", "image_url": {"url": data_url(png())}}]
    return json.dumps({"stream": stream, "messages": [{"role": "user", "content": parts}]}).encode()


def _dots(*, stream: bool) -> bytes:
    return json.dumps({"image": PAGE, "image_format": "base64", "stream": stream}).encode()


FORM = f"multipart/form-data; boundary={BOUNDARY}"
SSE_TYPE = "text/event-stream"
NDJSON_TYPE = "application/x-ndjson"
CHUNK = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
CHAT = "/v1/chat/completions"
BATCH = json.dumps({"requests": [{"image_base64": PAGE}] * 2}).encode()
UPLOAD = form(("file", png()))
UPLOADS = form(("files", png()), ("files", png()))

ASKS = [
    Ask("openai", CHAT, _chat(stream=False), own="lighton", other="deepseek"),
    Ask(
        "openai stream",
        CHAT,
        _chat(stream=True),
        own="lighton",
        other="chatvlm",
        frame=CHUNK,
        stream_type=SSE_TYPE,
    ),
    Ask("dots", "/ocr", _dots(stream=False), own="dots", other="lighton"),
    Ask(
        "dots stream",
        "/ocr",
        _dots(stream=True),
        own="dots",
        other="deepseek",
        frame=b'{"model":"dots-ocr","response":"one","done":false}\n',
        stream_type=NDJSON_TYPE,
    ),
    Ask(
        "deepseek",
        "/ocr",
        json.dumps({"image_base64": PAGE}).encode(),
        own="deepseek",
        other="paddle",
    ),
    Ask("deepseek file", "/ocr/file", UPLOAD, FORM, own="deepseek", other="lighton"),
    Ask(
        "deepseek stream",
        "/ocr/stream",
        UPLOAD,
        FORM,
        own="deepseek",
        other="dots",
        frame=b"data: one\n\n",
        stream_type=SSE_TYPE,
    ),
    Ask("deepseek batch", "/ocr/batch", BATCH, own="deepseek", other="lighton"),
    Ask("chatvlm", "/ocr", UPLOAD, FORM, own="chatvlm", other="lighton"),
    Ask(
        "chatvlm chat",
        "/chat",
        form(("file", png()), ("prompt", "hi")),
        FORM,
        own="chatvlm",
        other="dots",
    ),
    Ask("chatvlm batch", "/batch/ocr", UPLOADS, FORM, own="chatvlm", other="deepseek"),
]
