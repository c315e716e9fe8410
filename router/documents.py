"""The OpenAPI documents of the router's two ports: the documented formats' own operations."""

from __future__ import annotations

from typing import Any, Final

from shared.http import JSON
from shared.openapi import document, operation, string

ANY: Final[dict[str, Any]] = {"type": "object"}
FORM: Final = "multipart/form-data"


def _post(summary: str, *kinds: str) -> dict[str, Any]:
    answers = {status: {JSON: ANY} for status in (200, 400, 404, 408, 413, 429, 500, 503)}
    return {"post": operation(summary, body=dict.fromkeys(kinds, ANY), answers=answers)}


def _get(summary: str) -> dict[str, Any]:
    return {"get": operation(summary, answers={200: {JSON: ANY}})}


_SHARED: Final = {
    "/ocr/file": _post("Read an uploaded page (DeepSeek-OCR's format)", FORM),
    "/ocr/stream": _post("Read an uploaded page, streamed (DeepSeek-OCR's format)", FORM),
    "/ocr/batch": _post("Read up to 100 pages (DeepSeek-OCR's format)", JSON),
    "/chat": _post("Ask about an image (ChatVLMLLM's format)", FORM),
    "/batch/ocr": _post("Read several pages (ChatVLMLLM's format)", FORM),
    "/models/{name}": {
        "delete": operation(
            "Unload a model (ChatVLMLLM's format)",
            path={"name": string(minLength=1)},
            answers={status: {JSON: ANY} for status in (200, 400, 404, 503)},
        )
    },
}

UNIFIED: Final = document(
    "ocr-fleet router",
    "Every dialect in, every model out. The model is named in the body, the form, the query or"
    " the header X-OCR-Model; a task may be named in X-OCR-Task.",
    {
        "/v1/chat/completions": _post("Read pages (OpenAI's format)", JSON),
        "/ocr": _post(
            "Read a page (dots.ocr's, DeepSeek-OCR's or ChatVLMLLM's format)", JSON, FORM
        ),
        **_SHARED,
        "/v1/models": _get("All models (OpenAI's format)"),
        "/models": _get("All models (ChatVLMLLM's format)"),
        "/health": _get("The fleet's health"),
    },
)
LEGACY: Final = document(
    "DeepSeek-OCR API Server and ChatVLMLLM API",
    "The two documented APIs that share port 8000: JSON to /ocr is DeepSeek-OCR's, a form is"
    " ChatVLMLLM's.",
    {
        "/": _get("About (ChatVLMLLM)"),
        "/ocr": _post("Read a page (DeepSeek-OCR's or ChatVLMLLM's format)", JSON, FORM),
        **_SHARED,
        "/models": _get("The models (ChatVLMLLM)"),
        "/health": _get("Both services' health"),
    },
)
