"""Who may ask the router, on real sockets: keys, models, rates, proxies and browsers."""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.routing import Routed, routed
from tests.serving import served

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
DIALECTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai": ("url", "/v1/chat/completions", {"json": CHAT}),
    "dots": ("url", "/ocr", {"json": {"image": PNG, "image_format": "base64"}}),
    "deepseek": ("url", "/ocr", {"json": {"image_base64": PNG}}),
    "legacy deepseek": ("legacy", "/ocr", {"json": {"image_base64": PNG}}),
    "legacy chatvlm": ("legacy", "/chat", {"files": {"file": b"x"}, "data": {"prompt": "?"}}),
}
FLEET_KEY = "the-fleets-own"


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(
        f'[keys.any]\nsha256 = "{digest("any")}"\n'
        f'[keys.few]\nsha256 = "{digest("few")}"\nmodels = ["dots-ocr", "got_ocr"]\n'
        f'[keys.slow]\nsha256 = "{digest("slow")}"\nrequests_per_minute = 1\n'
        f'[keys.fleet]\nsha256 = "{digest(FLEET_KEY)}"\n'
    )
    return path


@pytest.fixture(scope="module")
def router(keys_file):
    """Two services that ask for keys themselves; to one of them the router shows its own."""
    settings: dict[str, Any] = {
        "OCR_FLEET_KEYS_FILE": str(keys_file),
        "OCR_FLEET_FAKE": '{"text": "hello"}',
    }
    with ExitStack() as stack:
        dots, deepseek, chatvlm = (
            stack.enter_context(served(name, **settings))
            for name in ("dots", "deepseek", "chatvlm")
        )
        yield stack.enter_context(
            routed(
                {
                    "dots": dots,
                    "deepseek": {"replicas": [deepseek], "key": FLEET_KEY},
                    "chatvlm": chatvlm,
                },
                OCR_FLEET_ROUTER_KEYS_FILE=str(keys_file),
                OCR_FLEET_ROUTER_CORS_ORIGINS="https://a.example",
            )
        )


def ask(router: Routed, dialect: str, key: str | None, model: str | None = None) -> httpx.Response:
    port, path, body = DIALECTS[dialect]
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    if model is not None:
        headers["x-ocr-model"] = model
    return httpx.post(getattr(router, port) + path, headers=headers, **body)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_a_key_the_answer_is_401_in_the_callers_dialect(router, dialect, key) -> None:
    answer = ask(router, dialect, key)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if dialect == "openai":
        assert answer.json()["error"]["type"] == "authentication_error"
    elif dialect.startswith("legacy"):
        assert set(answer.json()) == {"detail"}
    else:  # which of the formats of /ocr it is, stands in a body that is not read for a stranger
        assert set(answer.json()) in ({"detail"}, {"error"})


@pytest.mark.parametrize("dialect", ["dots", "deepseek", "legacy deepseek"])
@pytest.mark.parametrize("model", ["dots-ocr", "deepseek-ocr"])
def test_services_that_ask_for_a_key_are_shown_one(router, dialect, model) -> None:
    """The fleet's own to one, the caller's to the other; passed through and translated."""
    answer = ask(router, dialect, "any", model)
    assert answer.status_code == 200, answer.text
    assert "hello" in answer.text


def test_a_key_for_some_models_has_no_others(router) -> None:
    assert ask(router, "dots", "few").status_code == 200
    refused = ask(router, "deepseek", "few", "deepseek-ocr")
    assert refused.headers["x-ocr-error"] == "unknown_model"
    assert "Available: dots-ocr, got_ocr" in refused.text
    shown = {"authorization": "Bearer few"}
    listed = httpx.get(f"{router.url}/v1/models", headers=shown).json()
    assert [model["id"] for model in listed["data"]] == ["dots-ocr", "got_ocr"]
    listed = httpx.get(f"{router.url}/models", headers=shown).json()
    assert [model["id"] for model in listed["available"]] == ["dots-ocr", "got_ocr"]
    assert httpx.get(f"{router.url}/m/dots-ocr/v1/models", headers=shown).status_code == 200
    assert httpx.get(f"{router.url}/m/deepseek-ocr/v1/models", headers=shown).status_code == 404
    own = httpx.post(f"{router.url}/chatvlm/ocr?model=qwen3_vl_8b", headers=shown)
    assert own.headers["x-ocr-error"] == "unknown_model", "not by the side door either"


def test_the_model_lists_and_a_services_own_paths_need_a_key(router) -> None:
    for path in ("/v1/models", "/models", "/m/dots-ocr/v1/models", "/dots/ocr", "/chatvlm/models"):
        assert httpx.get(router.url + path).status_code == 401, path


def test_probes_need_none(router) -> None:
    for base in (router.url, router.legacy):
        for path in ("/health", "/livez", "/readyz", "/metrics", "/docs"):
            assert httpx.get(base + path).status_code == 200, path
    assert httpx.get(f"{router.url}/dots/health").status_code == 200


@pytest.mark.parametrize("dialect", ["dots", "deepseek", "openai"])
def test_a_key_that_asks_too_often_hears_when_to_come_back(router, dialect) -> None:
    ask(router, dialect, "slow", "dots-ocr")
    answer = ask(router, dialect, "slow", "dots-ocr")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["x-ocr-error"] == "rate_limited"
    assert "More than 1 requests a minute" in answer.text


def test_browsers_are_let_in_from_where_the_settings_say(router) -> None:
    preflight = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for origin, allowed in (("https://a.example", True), ("https://b.example", False)):
        answer = httpx.options(f"{router.url}/ocr", headers={"origin": origin, **preflight})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


def test_the_request_id_goes_through_to_the_service_and_back(router) -> None:
    headers = {"authorization": "Bearer any", "x-request-id": "an-id-of-mine"}
    answer = httpx.post(f"{router.url}/ocr", json={"image_base64": PNG}, headers=headers)
    assert answer.headers["x-request-id"] == "an-id-of-mine"


def test_without_keys_addresses_are_counted_as_a_trusted_proxy_names_them() -> None:
    settings: dict[str, Any] = {
        "OCR_FLEET_ROUTER_REQUESTS_PER_MINUTE": "1",
        "OCR_FLEET_ROUTER_TRUSTED_PROXIES": "127.0.0.0/8",
    }
    with routed({"dots": "http://127.0.0.1:1"}, ready=False, **settings) as router:

        def status(client: str) -> int:
            headers = {"x-forwarded-for": client}
            return httpx.get(f"{router.url}/v1/models", headers=headers).status_code

        assert [status("192.0.2.1"), status("192.0.2.2"), status("192.0.2.1")] == [200, 200, 429]


def test_an_untrusted_forwarding_header_changes_nothing() -> None:
    rate: dict[str, Any] = {"OCR_FLEET_ROUTER_REQUESTS_PER_MINUTE": "1"}
    with routed({"dots": "http://127.0.0.1:1"}, ready=False, **rate) as router:
        statuses = [
            httpx.get(
                f"{router.url}/v1/models", headers={"x-forwarded-for": f"192.0.2.{at}"}
            ).status_code
            for at in range(3)
        ]
        assert statuses == [200, 429, 429]
