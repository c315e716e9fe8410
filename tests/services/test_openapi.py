"""Each service against its own OpenAPI document: whatever schemathesis thinks of, the answer is one
the document has - its status, its media type, its body - and a request the document allows, with a
page in it, is answered with 200."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import validator_for
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from services.chatvlm.model import RECIPES
from tests.samples import PAGE, SERVICES, ask, data_url, http, image_part, png
from tests.serving import served

pytestmark = pytest.mark.slow

EXAMPLES = 15
"""For each operation, generation and page: a few seconds for all. Raise it to search for longer."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def base(service: str) -> Iterator[str]:
    with served(service) as url:
        yield url


@pytest.fixture(scope="module")
def schema(base: str) -> OpenApiSchema:
    return schemathesis.openapi.from_url(f"{base}/openapi.json")


def operations(schema: OpenApiSchema) -> list[Any]:
    results: list[Any] = list(schema.get_all_operations())
    found = [result.ok() for result in results]
    assert len(found) >= 5
    return found


def with_page(case: Case) -> None:
    """Put a readable page where one belongs, and what else JSON Schema cannot ask for: an image in
    some message, a prompt in the form or the query, a box with an inside."""
    body: Any = case.body
    if case.path == "/chat":
        body["prompt"] = "What?"
        if "prompt" in (case.query or {}):
            case.query["prompt"] = "Where?"
    for name, value in (
        ("image", data_url(png())),
        ("image_base64", PAGE),
        ("file", png()),
        ("files", [png(), png()]),
    ):
        if name in body:
            body[name] = value
    if body.get("bbox") is not None:
        body["bbox"] = [0, 0, 20, 10]
    for item in body.get("requests", []):
        item["image_base64"] = PAGE
    if "messages" in body:
        for message in body["messages"]:
            parts = message["content"] if isinstance(message["content"], list) else []
            for part in parts:
                if part.get("image_url"):
                    part["image_url"]["url"] = data_url(png())
        body["messages"].append({"role": "user", "content": [image_part()]})


def test_the_document_is_openapi_3_1(schema):
    """And every schema in it is JSON Schema."""
    schema.validate()
    document = schema.raw_schema
    assert document["openapi"] == "3.1.0"
    assert {"/livez", "/readyz", "/metrics", "/health"} <= set(document["paths"])
    for schema_ in schemas(document):
        validator_for(schema_)


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("schema"), dict):
            yield node["schema"]
        for value in node.values():
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_documented(schema, mode):
    """Requests that the document allows, and such as it does not."""
    asked = 0
    for operation in operations(schema):
        if mode is GenerationMode.NEGATIVE and operation.method.upper() != "POST":
            continue  # nothing in it could be wrong

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode))
        def answered(case: Case) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(checks=CHECKS)

        answered()
    assert asked >= EXAMPLES


def test_a_request_that_the_document_allows_is_answered(schema):
    """Once there is a page in it, nothing that the document allows is refused."""
    asked = 0
    for operation in operations(schema):
        if operation.method.upper() != "POST":
            continue

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def answered(case: Case) -> None:
            nonlocal asked
            with_page(case)
            answer = case.call_and_validate(checks=CHECKS)
            assert answer.status_code == 200, answer.text
            asked += 1

        answered()
    assert asked >= EXAMPLES // 2


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ('{"fail_after": 0}', {}),
        ('{"hang_after": 0}', {"OCR_FLEET_TIMEOUT_S": "0.05"}),
        ('{"load_s": 30}', {}),
        ('{"fail_after": 1, "text": "a b", "pieces": 2}', {}),
    ],
    ids=["broken", "too slow", "loading", "broken in between"],
)
def test_failures_are_documented(service, script, more):
    """An engine that breaks, is too slow or still loads."""
    ready = "load_s" not in script
    if service == "chatvlm":  # it loads models when they are asked for: they may only fail to
        ready, script = True, script.replace('"load_s": 30', '"fail_load": "no weights"')
    with served(service, ready=ready, OCR_FLEET_FAKE=script, **more) as base:
        document = http.get(f"{base}/openapi.json").json()
        for path, methods in document["paths"].items():
            if "get" in methods:
                answer = http.get(base + path)
                assert str(answer.status_code) in methods["get"]["responses"], (path, answer.text)
        answer = ask(base, service)
        path = answer.request.url.path
        documented = document["paths"][path]["post"]["responses"][str(answer.status_code)]
        [schema] = [kind["schema"] for kind in documented["content"].values()]
        validator_for(schema).validate(answer.json())
        assert answer.status_code >= 400
        assert set(answer.json()) == set(schema["properties"])


def test_the_models_of_the_document_are_those_that_can_be_had():
    with served("chatvlm") as base:
        document = http.get(f"{base}/openapi.json").json()
        ids = [model["id"] for model in http.get(f"{base}/models").json()["available"]]
    [model] = [
        parameter["schema"]
        for parameter in document["paths"]["/ocr"]["post"]["parameters"]
        if parameter["name"] == "model"
    ]
    assert model["enum"] == ids == list(RECIPES)
    assert json.loads(json.dumps(document)) == document
