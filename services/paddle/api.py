"""The OpenAPI document of the PaddleOCR-VL service."""

from __future__ import annotations

from typing import Final

from shared.http import JSON
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
from shared.openapi_chat import COMPLETION, MODELS, OPTIONS, PART

DETAIL: Final = record({"detail": string()})
BROKEN: Final = record({"error": string(), "type": string()})
MESSAGE: Final = record(
    {
        "role": string(enum=["system", "user", "assistant"]),
        "content": {"anyOf": [string(), listing(PART)]},
    }
)
CHAT: Final = record(
    {"model": string(minLength=1), "messages": listing(MESSAGE)},
    {
        "temperature": nullable(number(minimum=0, maximum=2, default=0.7)),
        "max_tokens": nullable(integer(minimum=1, maximum=4096, default=1024)),
        "max_completion_tokens": nullable(integer(minimum=1, maximum=4096)),
        "n_predict": nullable(integer(minimum=1, maximum=4096)),
        "stream": nullable(boolean(const=False)),
        **OPTIONS,
    },
)
HEALTH: Final = record(
    {
        "status": string(const="healthy"),
        "model_loaded": boolean(),
        "device": string(),
        "memory_used_mb": nullable(number()),
    }
)

DOCUMENT: Final = document(
    "PaddleOCR-VL Custom Server",
    "Reads a page into Markdown, its tables, or the fields of a receipt, an invoice or a form: the"
    " words of the message choose.",
    {
        "/health": {"get": operation("Health", answers={200: {JSON: HEALTH}, 503: {JSON: DETAIL}})},
        "/v1/models": {"get": operation("The model", answers={200: {JSON: MODELS}})},
        "/v1/chat/completions": {
            "post": operation(
                "Read the last image of the user's messages",
                body={JSON: CHAT},
                answers={
                    200: {JSON: COMPLETION},
                    400: {JSON: DETAIL},
                    500: {JSON: BROKEN},
                    503: {JSON: DETAIL},
                },
            )
        },
    },
)
