"""The OpenAPI document of the ChatVLMLLM service."""

from __future__ import annotations

from typing import Final

from services.chatvlm.model import DEFAULT, RECIPES
from shared.http import JSON
from shared.openapi import (
    UPLOAD,
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

DETAIL: Final = record({"detail": string()})
MODEL: Final = {"model": string(enum=list(RECIPES), default=DEFAULT)}
LANGUAGE: Final = {"language": string(description="a hint, such as ru or Russian")}
CHAT: Final = {
    **MODEL,
    "temperature": number(minimum=0, maximum=1, default=0.7),
    "max_tokens": integer(minimum=1, maximum=TOKENS_MAX, default=512),
}
PROMPT: Final = {"prompt": string(pattern=r"\S")}
FORM: Final = "multipart/form-data"
ERRORS: Final = {status: {JSON: DETAIL} for status in (400, 404, 413, 500, 503)}

ROOT: Final = record(
    {"message": string(), "version": string(), "docs": string(), "health": string()}
)
HEALTH: Final = record(
    {
        "status": string(const="healthy"),
        "gpu_available": boolean(),
        "gpu_name": nullable(string()),
        "models_loaded": integer(),
        "loaded_models": listing(string()),
    }
)
MODELS: Final = record(
    {
        "available": listing(record({"id": string(), "name": string(), "params": string()})),
        "loaded": listing(string()),
    }
)
OCR: Final = record(
    {
        "text": string(),
        "model": string(),
        "processing_time": number(),
        "image_size": listing(integer(), minItems=2, maxItems=2),
        "language": nullable(string()),
    }
)
REPLY: Final = record(
    {"response": string(), "model": string(), "processing_time": number(), "prompt": string()}
)
ITEM: Final = record(
    {"filename": string(), "status": string(enum=["success", "error"])},
    {"text": string(), "processing_time": number(), "error": string()},
)
BATCH: Final = record(
    {
        "results": listing(ITEM),
        "total": integer(),
        "successful": integer(),
        "failed": integer(),
    }
)
DELETED: Final = record({"status": string(const="success"), "message": string()})

DOCUMENT: Final = document(
    "ChatVLMLLM API",
    "Reads pages and answers questions about them, with a choice of models.",
    {
        "/": {"get": operation("About", answers={200: {JSON: ROOT}})},
        "/health": {"get": operation("Health", answers={200: {JSON: HEALTH}})},
        "/models": {"get": operation("The models", answers={200: {JSON: MODELS}})},
        "/models/{name}": {
            "delete": operation(
                "Unload a model",
                path={"name": string(minLength=1)},
                answers={200: {JSON: DELETED}, 404: {JSON: DETAIL}},
            )
        },
        "/ocr": {
            "post": operation(
                "Read a page",
                query={**MODEL, **LANGUAGE},
                body={FORM: record({"file": UPLOAD}, {**MODEL, **LANGUAGE})},
                answers={200: {JSON: OCR}, **ERRORS},
            )
        },
        "/chat": {
            "post": operation(
                "Ask about an image; the prompt stands in the query or the form",
                query={**PROMPT, **CHAT},
                body={FORM: record({"file": UPLOAD}, {**PROMPT, **CHAT})},
                answers={200: {JSON: REPLY}, **ERRORS},
            )
        },
        "/batch/ocr": {
            "post": operation(
                "Read several pages; a bad one is an item with an error",
                query={**MODEL, **LANGUAGE},
                body={FORM: record({"files": listing(UPLOAD, minItems=1)}, {**MODEL, **LANGUAGE})},
                answers={200: {JSON: BATCH}, **ERRORS},
            )
        },
    },
)
