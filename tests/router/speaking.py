"""Every operation of every dialect as a client speaks it: how a page is sent, which text comes
back, and in whose shape an error is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.samples import b64, chat, data_url, image_part, png, text_part, upload

CHAT_PATH = "/v1/chat/completions"

Body = dict[str, Any]
"""httpx's own words: json, files, data, content."""


@dataclass(frozen=True)
class Speech:
    """One operation of one dialect."""

    name: str
    path: str
    service: str
    """Whose document it is, so whose shape an error has."""
    body: Callable[[bytes], Body]
    """A request for a page."""
    text: Callable[[httpx.Response], str]
    model: str
    """Who reads when nobody is named."""
    streams: bool = False

    def send(
        self,
        base: str,
        *,
        page: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        path: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        """The plainest request; `more` are fields of the body, be it JSON or a form."""
        body = self.body(png() if page is None else page)
        if "json" in body:
            body["json"] = {**body["json"], **more}
        elif more:
            body["data"] = {**body.get("data", {}), **more}
        return httpx.post(
            base + (path or self.path), headers=headers, params=query or None, timeout=15, **body
        )


def frames(answer: httpx.Response) -> list[str]:
    """The data of an SSE stream's events; comments and the last mark are left out."""
    events = [
        "\n".join(line[6:] for line in event.split("\n") if line.startswith("data: "))
        for event in answer.text.split("\n\n")
    ]
    assert events[-2:] == ["[DONE]", ""], answer.text
    return events[:-2]


def _openai_text(answer: httpx.Response) -> str:
    (choice,) = answer.json()["choices"]
    assert choice["message"]["role"] == "assistant"
    return str(choice["message"]["content"])


def _openai_stream(answer: httpx.Response) -> str:
    assert answer.headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(frame) for frame in frames(answer)]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert len({chunk["id"] for chunk in chunks}) == 1
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def _dots_text(answer: httpx.Response) -> str:
    assert answer.json()["model"] == "dots-ocr"
    return str(answer.json()["response"])


def _dots_stream(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert {line["model"] for line in lines} == {"dots-ocr"}
    return "".join(line["response"] for line in lines)


def _deepseek_text(answer: httpx.Response) -> str:
    assert list(answer.json()) == ["request_id", "text", "processing_time", "status"]
    return str(answer.json()["text"])


def _deepseek_stream(answer: httpx.Response) -> str:
    assert answer.headers["content-type"].startswith("text/event-stream")
    return "".join(frames(answer))


def _deepseek_batch(answer: httpx.Response) -> str:
    assert list(answer.json()) == ["results", "total_processing_time"]
    first, bad, second = answer.json()["results"]
    assert bad["status"].startswith("error: ")
    assert (first["text"], first["status"]) == (second["text"], second["status"])
    return str(first["text"])


def _chatvlm_text(answer: httpx.Response) -> str:
    body = answer.json()
    assert list(body) == ["text", "model", "processing_time", "image_size", "language"]
    assert body["image_size"] == [40, 20]
    return str(body["text"])


def _chatvlm_talk(answer: httpx.Response) -> str:
    assert list(answer.json()) == ["response", "model", "processing_time", "prompt"]
    return str(answer.json()["response"])


def _chatvlm_batch(answer: httpx.Response) -> str:
    body = answer.json()
    assert (body["total"], body["successful"], body["failed"]) == (3, 2, 1)
    first, bad, second = body["results"]
    assert (bad["filename"], bad["status"], list(bad)) == (
        "b.png",
        "error",
        ["filename", "error", "status"],
    )
    assert (first["filename"], second["filename"]) == ("a.png", "c.png")
    assert first["text"] == second["text"]
    return str(first["text"])


def _files(page: bytes) -> list[Any]:
    uploads = [upload(page, "a.png"), upload(b"no image", "b.png"), upload(page, "c.png")]
    return [("files", one[0][1]) for one in uploads]


def _dots(page: bytes) -> Body:
    return {"image": b64(page), "image_format": "base64", "prompt_type": "prompt_ocr"}


SPEECHES = (
    Speech(
        "openai",
        CHAT_PATH,
        "lighton",
        lambda page: {"json": _chat(page)},
        _openai_text,
        "LightOnOCR-1B-1025",
    ),
    Speech(
        "openai stream",
        CHAT_PATH,
        "lighton",
        lambda page: {"json": _chat(page) | {"stream": True}},
        _openai_stream,
        "LightOnOCR-1B-1025",
        streams=True,
    ),
    Speech("dots", "/ocr", "dots", lambda page: {"json": _dots(page)}, _dots_text, "dots-ocr"),
    Speech(
        "dots stream",
        "/ocr",
        "dots",
        lambda page: {"json": _dots(page) | {"stream": True}},
        _dots_stream,
        "dots-ocr",
        streams=True,
    ),
    Speech(
        "deepseek",
        "/ocr",
        "deepseek",
        lambda page: {"json": {"image_base64": b64(page), "prompt": "Free OCR."}},
        _deepseek_text,
        "deepseek-ocr",
    ),
    Speech(
        "deepseek file",
        "/ocr/file",
        "deepseek",
        lambda page: {"files": upload(page), "data": {"prompt": "Free OCR."}},
        _deepseek_text,
        "deepseek-ocr",
    ),
    Speech(
        "deepseek stream",
        "/ocr/stream",
        "deepseek",
        lambda page: {"files": upload(page), "data": {"prompt": "Free OCR."}},
        _deepseek_stream,
        "deepseek-ocr",
        streams=True,
    ),
    Speech(
        "deepseek batch",
        "/ocr/batch",
        "deepseek",
        lambda page: {
            "json": {
                "requests": [
                    {"image_base64": b64(page), "prompt": "Free OCR."},
                    {"prompt": None},
                    {"image_base64": b64(page), "prompt": "Free OCR."},
                ]
            }
        },
        _deepseek_batch,
        "deepseek-ocr",
    ),
    Speech(
        "chatvlm",
        "/ocr",
        "chatvlm",
        lambda page: {"files": upload(page)},
        _chatvlm_text,
        "qwen3_vl_2b",
    ),
    Speech(
        "chatvlm chat",
        "/chat",
        "chatvlm",
        lambda page: {"files": upload(page), "data": {"prompt": "What is there?"}},
        _chatvlm_talk,
        "qwen3_vl_2b",
    ),
    Speech(
        "chatvlm batch",
        "/batch/ocr",
        "chatvlm",
        lambda page: {"files": _files(page)},
        _chatvlm_batch,
        "qwen3_vl_2b",
    ),
)
SINGLE = tuple(speech for speech in SPEECHES if not speech.name.endswith("batch"))
"""Those whose errors are the whole answer's."""

BY_NAME = {speech.name: speech for speech in SPEECHES}

MODELS = (
    "LightOnOCR-1B-1025",
    "PaddlePaddle/PaddleOCR-VL",
    "dots-ocr",
    "deepseek-ocr",
    "got_ocr",
    "qwen_vl_2b",
    "qwen_vl_7b",
    "qwen3_vl_2b",
    "qwen3_vl_4b",
    "qwen3_vl_8b",
    "dots_ocr",
)
OF_SERVICE = {
    "lighton": "LightOnOCR-1B-1025",
    "paddle": "PaddlePaddle/PaddleOCR-VL",
    "dots": "dots-ocr",
    "deepseek": "deepseek-ocr",
    "chatvlm": "qwen3_vl_2b",
}


def _chat(page: bytes) -> Body:
    return chat(text_part("Extract all text."), image_part(data_url(page))) | {"model": None}
