"""One documented request of each service, as the bytes that go over the wire, and the text out of
its answer. It sends nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec

BUSY: Mapping[str, int] = {
    "lighton": 503,
    "paddle": 503,
    "dots": 429,
    "deepseek": 503,
    "chatvlm": 503,
}
"""The documented busy answer of each service."""


class Ask(msgspec.Struct, frozen=True):
    """A request ready to be sent."""

    path: str
    headers: dict[str, str]
    body: bytes
    text: Callable[[bytes], str]
    """Takes the text out of a 200; raises `ValueError` or `KeyError` when it is cut short."""


def ask(service: str, png: bytes, *, stream: bool = False) -> Ask:
    """What a client of the service sends to have a page read. paddle and chatvlm never stream."""
    return ASKS[service](png, stream)


def json_ask(path: str, body: Mapping[str, Any], text: Callable[[bytes], str]) -> Ask:
    return Ask(path, {"content-type": "application/json"}, json.dumps(body).encode(), text)


def form_ask(path: str, png: bytes, fields: Mapping[str, str], text: Callable[[bytes], str]) -> Ask:
    """A multipart form with the page as `file`."""
    files = {"file": ("page.png", png, "image/png")}
    sent = httpx.Request("POST", f"http://service{path}", data=dict(fields), files=files)
    return Ask(path, {"content-type": sent.headers["content-type"]}, sent.read(), text)


def encoded(png: bytes) -> str:
    return base64.b64encode(png).decode()


def chat(model: str, png: bytes, *, stream: bool) -> dict[str, Any]:
    link = {"url": f"data:image/png;base64,{encoded(png)}"}
    words = {"type": "text", "text": "Extract text as markdown"}
    content = [words, {"type": "image_url", "image_url": link}]
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    return body | {"stream": True} if stream else body


def ask_lighton(png: bytes, stream: bool) -> Ask:
    body = chat("LightOnOCR-1B-1025", png, stream=stream)
    return json_ask("/v1/chat/completions", body, chat_stream if stream else chat_text)


def ask_paddle(png: bytes, stream: bool) -> Ask:
    body = chat("PaddlePaddle/PaddleOCR-VL", png, stream=False)
    return json_ask("/v1/chat/completions", body, chat_text)


def ask_dots(png: bytes, stream: bool) -> Ask:
    body = {
        "image": encoded(png),
        "image_format": "base64",
        "prompt_type": "prompt_ocr",
        "stream": stream,
    }
    return json_ask(
        "/ocr", body, dots_stream if stream else lambda raw: json.loads(raw)["response"]
    )


def ask_deepseek(png: bytes, stream: bool) -> Ask:
    prompt = "<image>\nFree OCR."
    if stream:
        return form_ask("/ocr/stream", png, {"prompt": prompt}, event_stream)
    body = {"image_base64": encoded(png), "prompt": prompt}
    return json_ask("/ocr", body, lambda raw: json.loads(raw)["text"])


def ask_chatvlm(png: bytes, stream: bool) -> Ask:
    return form_ask("/ocr", png, {}, lambda raw: json.loads(raw)["text"])


ASKS: Mapping[str, Callable[[bytes, bool], Ask]] = {
    "lighton": ask_lighton,
    "paddle": ask_paddle,
    "dots": ask_dots,
    "deepseek": ask_deepseek,
    "chatvlm": ask_chatvlm,
}


# ---- the text out of an answer


def chat_text(raw: bytes) -> str:
    return str(json.loads(raw)["choices"][0]["message"]["content"])


def events(raw: bytes) -> list[str]:
    """The data lines of a stream that must end with `[DONE]`."""
    lines = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    if not lines or lines[-1] != "[DONE]":
        raise ValueError("the stream ended without [DONE]")
    return lines[:-1]


def chat_stream(raw: bytes) -> str:
    chunks = [json.loads(line) for line in events(raw)]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def event_stream(raw: bytes) -> str:
    return "\n".join(events(raw))


def dots_stream(raw: bytes) -> str:
    lines = [json.loads(line) for line in raw.splitlines()]
    if not lines or not lines[-1]["done"] or "error" in lines[-1]:
        raise ValueError(f"the stream ended with {lines[-1:]}")
    return "".join(line["response"] for line in lines)
