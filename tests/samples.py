"""Pages and plain requests that tests send, and what each service's errors look like. Knows nothing
of how a service works."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
from PIL import Image

SERVICES = ("lighton", "paddle", "dots", "deepseek", "chatvlm")
CHAT_PATH = "/v1/chat/completions"
MIB = 1024 * 1024

TELL = '{"tell": true}'
"""A script of the fake engine: it answers with the request it was given, as JSON."""


http = httpx.Client(
    verify=False,  # noqa: S501 - there is no TLS here, and certificates take long to load
    trust_env=False,
    timeout=20.0,
    limits=httpx.Limits(max_keepalive_connections=0),
)
"""For plain requests: made once, since making a client costs more than most requests do."""


# ---- pages


@cache
def picture(width: int = 40, height: int = 20, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A white page as a file."""
    file = io.BytesIO()
    Image.new(mode, (width, height), "white").save(file, kind)
    return file.getvalue()


def png(width: int = 40, height: int = 20) -> bytes:
    return picture(width, height)


@cache
def noisy(kind: str) -> bytes:
    """A page whose file is large enough to be cut in the middle of its pixels."""
    file = io.BytesIO()
    Image.effect_noise((300, 200), 90).convert("RGB").save(file, kind)
    return file.getvalue()


def truncated(kind: str) -> bytes:
    data = noisy(kind)
    return data[: len(data) // 2]


@cache
def bomb() -> bytes:
    """A well-formed PNG of 50,000 x 50,000 white pixels, 2.5 gigapixels in a few hundred KB."""
    side = 50_000
    row = b"\0" + b"\xff" * (side // 8)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (_chunk(b"IHDR", head), _chunk(b"IDAT", packed), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def huge_header(side: int = 50_000) -> bytes:
    """Only the head of such a PNG: a few bytes that promise gigapixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"")


@cache
def padded(size: int) -> bytes:
    """A readable page of exactly that many bytes: what follows a PNG's end is not looked at."""
    return png() + bytes(size - len(png()))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes, label: str = "image/png") -> str:
    return f"data:{label};base64,{b64(data)}"


def broken_lines(data: bytes) -> str:
    """Base64 as `base64` on Linux writes it: a line break after every 76 characters."""
    return base64.encodebytes(data).decode()


PAGE = b64(png())


# ---- requests


def image_part(url: str = "") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url or data_url(png())}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def chat(*parts: dict[str, Any], **more: object) -> dict[str, Any]:
    """A chat request of one user message; a white page where no parts are given."""
    content = list(parts) or [image_part()]
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


DOTS = {"image": PAGE, "image_format": "base64", "prompt_type": "prompt_ocr"}


def upload(
    data: bytes | None = None, name: str = "a.png", label: str = "image/png", field: str = "file"
) -> list[tuple[str, tuple[str, bytes, str]]]:
    """One file of a form, in httpx's words."""
    return [(field, (name, png() if data is None else data, label))]


def ask(base: str, service: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """The plainest request a service's document has."""
    match service:
        case "lighton" | "paddle":
            return http.post(base + CHAT_PATH, json=chat(), headers=headers)
        case "dots":
            return http.post(f"{base}/ocr", json=DOTS, headers=headers)
        case "deepseek":
            return http.post(f"{base}/ocr", json={"image_base64": PAGE}, headers=headers)
        case _:
            return http.post(f"{base}/ocr", files=upload(), headers=headers)


# ---- answers


def message_of(service: str, answer: httpx.Response) -> str:
    """The message of an error answer, which must have the service's own shape and nothing else."""
    media_type = "application/json; charset=utf-8" if service == "lighton" else "application/json"
    assert answer.headers["content-type"] == media_type, answer.text[:300]
    assert "Traceback" not in answer.text
    body = answer.json()
    match service, answer.status_code:
        case "lighton", status:
            assert list(body) == ["error"], body
            assert list(body["error"]) == ["message", "type", "code"], body
            assert body["error"]["code"] == status
            message = body["error"]["message"]
        case "paddle", 500:
            assert list(body) == ["error", "type"], body
            message = body["error"]
        case "dots", _:
            assert list(body) == ["error"], body
            message = body["error"]
        case _:
            assert list(body) == ["detail"], body
            message = body["detail"]
    assert isinstance(message, str)
    assert message
    return message


# ---- pages on the network


@contextmanager
def hosted(data: bytes) -> Iterator[str]:
    """A web server on the loopback that has one page, at `/page.png`; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page.png"
            self.send_response(200 if found else 404)
            self.send_header("content-length", str(len(data) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
