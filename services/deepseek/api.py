"""The OpenAPI document of the DeepSeek-OCR service."""

from __future__ import annotations

from typing import Any, Final

from shared.http import JSON, SSE
from shared.openapi import (
    UPLOAD,
    boolean,
    document,
    event,
    integer,
    listing,
    nullable,
    number,
    operation,
    record,
    string,
)
from shared.wire.deepseek import SIDE_PX_MAX

DETAIL: Final = record({"detail": string()})
PARAMETERS: Final[dict[str, Any]] = {
    "prompt": string(
        default="<image>\n<|grounding|>Convert the document to markdown.",
        examples=["<image>\nFree OCR."],
    ),
    "temperature": number(minimum=0, maximum=2, default=0.0),
    "max_tokens": integer(minimum=1, maximum=8192, default=8192),
    "ngram_size": integer(minimum=1, maximum=100, default=30),
    "window_size": integer(minimum=1, maximum=200, default=90),
    "crop_mode": boolean(),
    "base_size": integer(minimum=1, maximum=SIDE_PX_MAX),
    "image_size": integer(minimum=1, maximum=SIDE_PX_MAX),
}
MAYBE: Final = {name: nullable(schema) for name, schema in PARAMETERS.items()}
REQUEST: Final = record({"image_base64": string(description="base64 or a data URL")}, MAYBE)
ITEM: Final = record({}, {"image_base64": nullable(string()), **MAYBE})
FILE: Final = record({"file": UPLOAD}, PARAMETERS)
RESULT: Final = record(
    {"request_id": string(), "text": string(), "processing_time": number(), "status": string()}
)
BATCH: Final = record({"results": listing(RESULT), "total_processing_time": number()})
HEALTH: Final = record(
    {
        "status": string(enum=["healthy", "unhealthy"]),
        "model_loaded": boolean(),
        "gpu_available": boolean(),
        "timestamp": number(),
    }
)
EVENT: Final = event("a piece of the text, `[DONE]` at the end, or `ERROR: ...` instead of it")
ERRORS: Final = {status: {JSON: DETAIL} for status in (400, 500, 503)}

DOCUMENT: Final = document(
    "DeepSeek-OCR API Server",
    "Reads pages into text or Markdown with boxes: JSON, uploads, streams and batches.",
    {
        "/health": {"get": operation("Health", answers={200: {JSON: HEALTH}})},
        "/ocr": {
            "post": operation(
                "Read a page sent as base64",
                body={JSON: REQUEST},
                query=PARAMETERS,
                answers={200: {JSON: RESULT}, **ERRORS},
            )
        },
        "/ocr/file": {
            "post": operation(
                "Read an uploaded page",
                body={"multipart/form-data": FILE},
                query=PARAMETERS,
                answers={200: {JSON: RESULT}, **ERRORS},
            )
        },
        "/ocr/stream": {
            "post": operation(
                "Read an uploaded page, streamed as server-sent events",
                body={"multipart/form-data": FILE},
                query=PARAMETERS,
                answers={200: {SSE: EVENT}, **ERRORS},
            )
        },
        "/ocr/batch": {
            "post": operation(
                "Read up to 100 pages; a bad one is an item with an error",
                body={JSON: record({"requests": listing(ITEM, maxItems=100)})},
                answers={200: {JSON: BATCH}, **ERRORS},
            )
        },
    },
)
