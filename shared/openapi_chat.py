"""OpenAI's chat completions as OpenAPI schemas, for the services that speak a flavour of them."""

from __future__ import annotations

from typing import Any, Final

from shared.openapi import integer, listing, record, string

PART: Final[dict[str, Any]] = {
    "anyOf": [
        record({"type": string(const="text"), "text": string()}),
        record(
            {
                "type": string(const="image_url"),
                "image_url": record(
                    {"url": string(description="data:image/...;base64,... or http(s)")}
                ),
            }
        ),
    ]
}
COMPLETION: Final = record(
    {
        "id": string(),
        "object": string(const="chat.completion"),
        "created": integer(),
        "model": string(),
        "choices": listing(
            record(
                {
                    "index": integer(),
                    "message": record({"role": string(), "content": string()}),
                    "finish_reason": string(enum=["stop", "length"]),
                }
            )
        ),
        "usage": record(
            {
                "prompt_tokens": integer(),
                "completion_tokens": integer(),
                "total_tokens": integer(),
            }
        ),
    }
)
MODELS: Final = record(
    {
        "object": string(const="list"),
        "data": listing(
            record(
                {
                    "id": string(),
                    "object": string(const="model"),
                    "created": integer(),
                    "owned_by": string(),
                }
            )
        ),
    }
)
