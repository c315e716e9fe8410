"""API keys on the services' own ports: what needs one, what does not, and each refusal's shape."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

import httpx
import pytest
from jsonschema_rs import validator_for

from tests.serving import served

SERVICES = ("lighton", "paddle", "dots", "deepseek", "chatvlm")

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)

CHAT = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
            ],
        }
    ]
}

ASKED = {
    "lighton": ("/v1/chat/completions", CHAT),
    "paddle": ("/v1/chat/completions", {"model": "PaddlePaddle/PaddleOCR-VL", **CHAT}),
    "dots": ("/ocr", {"image": PNG, "image_format": "base64"}),
    "deepseek": ("/ocr", {"image_base64": PNG}),
}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    digest = sha256(b"good").hexdigest()
    kept = sha256(b"kept").hexdigest()
    path.write_text(
        f'[keys.all]\nsha256 = "{digest}"\n'
        f'[keys.kept]\nsha256 = "{kept}"\nmodels = ["qwen3_vl_2b"]\nrequests_per_minute = 1\n'
    )
    return path


@pytest.fixture(params=SERVICES, scope="module")
def guarded(request, keys_file):
    with (
        served(
            request.param,
            OCR_FLEET_KEYS_FILE=str(keys_file),
            OCR_FLEET_FAKE='{"text": "hello"}',
        ) as base,
        httpx.Client(base_url=base) as client,
    ):
        yield request.param, client


def ask(service: str, client: httpx.Client, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if service == "chatvlm":
        files = {"file": ("page.png", b64decode(PNG), "image/png")}
        return client.post("/ocr", files=files, headers=headers)
    path, body = ASKED[service]
    return client.post(path, json=body, headers=headers)


@pytest.mark.parametrize("shown", [{}, {"authorization": "Bearer wrong"}, {"x_api_key": "wrong"}])
def test_without_a_key_the_answer_is_401_in_the_services_own_shape(guarded, shown) -> None:
    service, client = guarded
    answer = ask(service, client, **shown)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-ocr-error"] == "not_allowed"
    body = answer.json()
    match service:
        case "lighton":
            assert body["error"]["type"] == "authentication_error"
        case "dots":
            assert set(body) == {"error"}
        case _:
            assert set(body) == {"detail"}


@pytest.mark.parametrize("shown", [{"authorization": "Bearer good"}, {"x_api_key": "good"}])
def test_with_a_key_the_page_is_read(guarded, shown) -> None:
    answer = ask(*guarded, **shown)
    assert answer.status_code == 200, answer.text
    assert "hello" in answer.text


def test_probes_and_documents_need_no_key(guarded) -> None:
    service, client = guarded
    for path in ("/health", "/livez", "/readyz", "/metrics", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    preflight = {"origin": "https://a.example", "access-control-request-method": "POST"}
    assert client.options("/ocr", headers=preflight).status_code in {200, 204, 404, 405}
    if service in {"deepseek", "chatvlm"}:
        assert client.get("/docs").status_code == 200
        assert client.get("/redoc").status_code == 200


def test_lists_of_models_need_one(guarded) -> None:
    service, client = guarded
    paths = {"lighton": "/v1/models", "paddle": "/v1/models", "chatvlm": "/models"}
    path = paths.get(service, "/ocr")
    method = "POST" if path == "/ocr" else "GET"
    assert client.request(method, path).status_code == 401
    found = client.request(method, path, headers={"x-api-key": "good"})
    assert found.status_code == (400 if path == "/ocr" else 200)


def test_a_key_for_one_model_has_no_other_and_a_service_counts_no_rate(guarded) -> None:
    service, client = guarded
    for _ in range(3):
        answer = ask(service, client, x_api_key="kept")
        if service == "chatvlm":
            assert answer.status_code == 200
        else:
            assert answer.status_code in {400, 404}
            assert answer.headers["x-ocr-error"] == "unknown_model"
    if service == "chatvlm":
        gone = client.delete("/models/got_ocr", headers={"x-api-key": "kept"})
        assert gone.status_code == 404
        assert "not found. Available: qwen3_vl_2b" in gone.text


def test_the_document_says_how_a_key_is_sent_and_what_is_said_without_one(guarded) -> None:
    service, client = guarded
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {"bearer", "key"} == set(schemes) == {next(iter(one)) for one in document["security"]}
    path = "/ocr" if service == "chatvlm" else ASKED[service][0]
    answers = document["paths"][path]["post"]["responses"]
    assert answers["401"]["content"] == answers["400"]["content"]
    validator_for(next(iter(answers["401"]["content"].values()))["schema"]).validate(
        ask(service, client).json()
    )
    assert document["paths"]["/livez"]["get"]["security"] == []
