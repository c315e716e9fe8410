"""The OpenAPI document of the dots.ocr service."""

from __future__ import annotations

from typing import Final

from shared.http import JSON, NDJSON
from shared.openapi import (
    boolean,
    document,
    integer,
    listing,
    nullable,
    number,
    operation,
    record,
    string,
)
from shared.wire.parameters import TOKENS_MAX

ERROR: Final = record({"error": string()})
PROMPTS: Final = [
    "prompt_layout_all_en",
    "prompt_layout_only_en",
    "prompt_ocr",
    "prompt_grounding_ocr",
]
REQUEST: Final = record(
    {"image": string(minLength=1, description="path, URL, base64 or data URL")},
    {
        "image_format": nullable(string(enum=["path", "url", "base64"], default="path")),
        "prompt_type": nullable(string(enum=PROMPTS, default=PROMPTS[0])),
        "bbox": nullable(
            listing(
                integer(minimum=0, maximum=TOKENS_MAX),
                minItems=4,
                maxItems=4,
                description="x1, y1, x2, y2 for prompt_grounding_ocr; x1 < x2 and y1 < y2",
            )
        ),
        "temperature": nullable(number(minimum=0, maximum=2, default=0.1)),
        "top_p": nullable(number(minimum=0, maximum=1, default=1.0)),
        "max_new_tokens": nullable(integer(minimum=1, maximum=TOKENS_MAX, default=12000)),
        "stream": nullable(boolean(default=False)),
    },
)
RESULT: Final = record({"model": string(), "prompt_type": string(), "response": string()})
HEALTH: Final = record({"status": string(const="healthy"), "model_loaded": boolean()})

DOCUMENT: Final = document(
    "DotsOCR",
    "Reads a page into its layout or its text; one request at a time.",
    {
        "/health": {"get": operation("Health", answers={200: {JSON: HEALTH}})},
        "/ocr": {
            "post": operation(
                "Read a page",
                body={JSON: REQUEST},
                answers={
                    200: {JSON: RESULT, NDJSON: string()},
                    400: {JSON: ERROR},
                    429: {JSON: ERROR},
                    500: {JSON: ERROR},
                },
            )
        },
    },
)
