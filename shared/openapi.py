"""Builds a service's OpenAPI 3.1 document and serves its pages, Swagger UI at `/docs` and ReDoc at
`/redoc`, with assets from an installed package: nothing is loaded from another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.access import OPEN_PATHS
from shared.errors import EngineFailed
from shared.exchange import Answer, Exchange
from shared.http import JSON, Reply

Schema = dict[str, Any]

ASSETS: Final = {
    "swagger-ui-bundle.js": ("swagger-ui-dist/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("swagger-ui-dist/swagger-ui.css", "text/css"),
    "favicon.png": ("swagger-ui-dist/favicon-32x32.png", "image/png"),
    "redoc.js": ("redoc/bundles/redoc.standalone.js", "text/javascript"),
}
ASSETS_PACKAGE: Final = "drf_spectacular_sidecar"
"""Carries both front ends as plain files; its Django application is neither imported nor used."""

SWAGGER_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="docs/favicon.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "openapi.json", dom_id: "#ui", deepLinking: true,
validatorUrl: "none"}})</script>
</body></html>
"""

REDOC_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="docs/favicon.png"></head>
<body style="margin:0"><div id="ui"></div><script src="docs/redoc.js"></script>
<script>Redoc.init("openapi.json", {{disableSearch: false}}, document.getElementById("ui"))</script>
</body></html>
"""


PAGE_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; worker-src 'self' blob:;"
        " script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
    )
}
"""Both front ends would fetch from elsewhere: ReDoc its logo, Swagger UI a validator's badge. The
browser is told not to."""


def document(title: str, description: str, paths: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document: the service's own paths, then those every service has."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0.0", "description": description},
        "paths": {**paths, **_common_paths()},
    }


def with_keys(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a service that asks for API keys: how they are sent, and what is said
    without one, in the shape of the operation's other errors."""
    paths = {
        path: {method: _with_key(path, operation) for method, operation in methods.items()}
        for path, methods in doc["paths"].items()
    }
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return {
        **doc,
        "paths": paths,
        "components": {**doc.get("components", {}), "securitySchemes": schemes},
        "security": [{name: []} for name in schemes],
    }


def _with_key(path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    if path in OPEN_PATHS:
        return {**operation, "security": []}
    answers = operation["responses"]
    errors = [status for status in sorted(answers) if status >= "400"]
    shape = {"content": answers[errors[0]]["content"]} if errors else {}
    refused = {"description": DESCRIPTIONS[401], **shape}
    return {**operation, "responses": {**answers, "401": refused}}


def operation(
    summary: str,
    *,
    answers: Mapping[int, Mapping[str, Any]],
    body: Mapping[str, Schema] | None = None,
    query: Mapping[str, Schema] | None = None,
    path: Mapping[str, Schema] | None = None,
    body_required: bool = True,
) -> dict[str, Any]:
    """One operation. `body` and each answer map media types to schemas.

    Defaults are told of the body alone: Swagger UI fills them in, and the query wins over the body.
    """
    made: dict[str, Any] = {"summary": summary, "responses": {}}
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": _without_default(schema)}
        for name, schema in (query or {}).items()
    ] + [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in (path or {}).items()
    ]
    if parameters:
        made["parameters"] = parameters
    if body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in body.items()}
        made["requestBody"] = {"required": body_required, "content": content}
    for status, kinds in answers.items():
        made["responses"][str(status)] = {
            "description": DESCRIPTIONS.get(status, "Answer"),
            "content": {media_type: {"schema": schema} for media_type, schema in kinds.items()},
        }
    return made


DESCRIPTIONS: Final = {
    200: "Success",
    400: "The request cannot be understood or is out of range",
    401: "No API key, or one that is not known here",
    404: "Not found",
    405: "The path answers to other methods",
    408: "The request took too long",
    413: "The image is too large",
    429: "Busy with another request",
    500: "Internal error",
    503: "Not loaded, busy (with Retry-After) or too slow",
}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object schema."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def string(**more: Any) -> Schema:
    return {"type": "string", **more}


def number(**more: Any) -> Schema:
    return {"type": "number", **more}


def integer(**more: Any) -> Schema:
    return {"type": "integer", **more}


def boolean(**more: Any) -> Schema:
    return {"type": "boolean", **more}


def listing(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _without_default(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


UPLOAD: Final[Schema] = {"type": "string", "format": "binary"}
"""A file of a multipart form."""


def event(data: str) -> Schema:
    """One server-sent event; its data is described in words."""
    return record({"data": string(description=data)})


def _common_paths() -> dict[str, Any]:
    word = record({"status": string()})
    return {
        "/livez": {"get": operation("The process lives", answers={200: {JSON: word}})},
        "/readyz": {
            "get": operation(
                "The service can serve", answers={200: {JSON: word}, 503: {JSON: word}}
            )
        },
        "/metrics": {
            "get": operation("Prometheus metrics", answers={200: {"text/plain": string()}})
        },
    }


# ---- the pages


def docs_routes(
    doc: Mapping[str, Any],
) -> list[tuple[str, Callable[[Exchange], Awaitable[Answer]]]]:
    """Path and handler of the document, both pages and their assets."""
    encoded = msgspec.json.encode(doc)
    title = str(doc["info"]["title"])

    async def openapi(_: Exchange) -> Answer:
        return Reply(body=encoded)

    async def swagger(_: Exchange) -> Answer:
        return _page(SWAGGER_PAGE, title)

    async def redoc(_: Exchange) -> Answer:
        return _page(REDOC_PAGE, title)

    pages = [("/openapi.json", openapi), ("/docs", swagger), ("/redoc", redoc)]
    return [*pages, *((f"/docs/{name}", _asset) for name in ASSETS)]


def _page(template: str, title: str) -> Reply:
    body = template.format(title=title).encode()
    return Reply(media_type="text/html; charset=utf-8", headers=PAGE_HEADERS, body=body)


async def _asset(exchange: Exchange) -> Answer:
    inner, media_type = ASSETS[exchange.incoming.path.rpartition("/")[2]]
    spec = find_spec(ASSETS_PACKAGE)
    if spec is None or spec.origin is None:
        raise EngineFailed(
            "The pages' assets are not installed", detail=f"no package {ASSETS_PACKAGE}"
        )
    path = Path(spec.origin).parent / "static" / ASSETS_PACKAGE / inner
    data = await asyncio.to_thread(path.read_bytes)
    headers = {"cache-control": "public, max-age=86400"}
    return Reply(media_type=media_type, headers=headers, body=data)
