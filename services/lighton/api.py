"""The OpenAPI document of the LightOnOCR service."""

from __future__ import annotations

from typing import Any, Final

from shared.http import JSON, SSE
from shared.openapi import (
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
from shared.openapi_chat import COMPLETION, MODELS, OPTIONS, PART
from shared.wire.parameters import TOKENS_MAX

ERROR: Final = record({"error": record({"message": string(), "type": string(), "code": integer()})})
TOKENS: Final[dict[str, Any]] = {
    "anyOf": [integer(minimum=1, maximum=TOKENS_MAX), {"const": -1}, {"type": "null"}],
    "description": "-1: no limit",
}
MESSAGE: Final = record(
    {"role": string(), "content": {"anyOf": [string(), listing(PART)]}},
)
CHAT: Final = record(
    {"messages": listing(MESSAGE, minItems=1)},
    {
        "model": nullable(string(description="any name; LightOnOCR-1B-1025 answers")),
        "temperature": nullable(number(minimum=0, maximum=2, default=0.1)),
        "max_tokens": {**TOKENS, "default": 4096},
        "max_completion_tokens": TOKENS,
        "n_predict": TOKENS,
        "stream": nullable(boolean(default=False)),
        **OPTIONS,
    },
)
EVENT: Final = event("a chat.completion.chunk, an error, or `[DONE]` at the end")


def _errors(*statuses: int) -> dict[int, dict[str, Any]]:
    return {status: {JSON: ERROR} for status in statuses}


DOCUMENT: Final = document(
    "LightOnOCR",
    "Reads pages into Markdown; OpenAI chat completions.",
    {
        "/health": {
            "get": operation(
                "Whether the model can serve",
                answers={200: {JSON: record({"status": string(const="ok")})}, **_errors(503)},
            )
        },
        "/v1/models": {"get": operation("The model", answers={200: {JSON: MODELS}})},
        "/v1/chat/completions": {
            "post": operation(
                "Read the pages of a chat message",
                body={JSON: CHAT},
                answers={
                    200: {JSON: COMPLETION, SSE: EVENT},
                    **_errors(400, 408, 413, 500, 503),
                },
            )
        },
    },
)
