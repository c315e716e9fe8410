"""OpenAI's chat completions as OpenAPI schemas, for the services that speak a flavour of them."""

from __future__ import annotations

from typing import Any, Final

from shared.openapi import boolean, integer, listing, nullable, number, record, string
from shared.wire.openai import STOPS_MAX

PART: Final[dict[str, Any]] = {
    "anyOf": [
        record({"type": string(const="text"), "text": string()}, {"image_url": {"type": "null"}}),
        record(
            {
                "type": string(const="image_url"),
                "image_url": record(
                    {"url": string(description="data:image/...;base64,... or http(s)")}
                ),
            },
            {"text": nullable(string())},
        ),
    ]
}
OPTIONS: Final[dict[str, Any]] = {
    "top_p": nullable(number(minimum=0, maximum=1)),
    "stop": nullable({"anyOf": [string(), listing(string(), maxItems=STOPS_MAX)]}),
    "seed": nullable(integer()),
    "stream_options": nullable(record({}, {"include_usage": nullable(boolean())})),
    "logprobs": nullable(boolean(description="asked for, it is answered with null")),
    "n": nullable(integer(const=1)),
    "tools": nullable(listing({}, maxItems=0)),
    "functions": nullable(listing({}, maxItems=0)),
    "response_format": nullable(record({}, {"type": nullable(string(const="text"))})),
}
"""Fields that are honoured, or refused where they ask for what is not done."""
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
