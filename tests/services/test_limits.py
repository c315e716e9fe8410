"""The numbers of the contract's table, as each service states them and as a request meets them."""

from __future__ import annotations

import importlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.limits import MIB, Limits
from tests.samples import PAGE, SERVICES, ask, http, message_of, upload
from tests.serving import served

TABLE: dict[str, dict[str, Any]] = {
    "lighton": {
        "image_bytes_max": 10 * MIB,
        "timeout_s": 120,
        "slots": 10,
        "temperature": 0.1,
        "max_tokens": 4096,
        "temperature_max": 2,
        "max_tokens_max": None,
    },
    "paddle": {
        "slots": 1,
        "temperature": 0.7,
        "max_tokens": 1024,
        "max_tokens_max": 4096,
    },
    "dots": {
        "slots": 1,
        "queue_max": 0,
        "temperature": 0.1,
        "top_p": 1,
        "max_tokens": 12000,
    },
    "deepseek": {
        "slots": 100,
        "temperature": 0,
        "max_tokens": 8192,
        "max_tokens_max": 8192,
    },
    "chatvlm": {"slots": 1, "temperature": 0.7, "max_tokens": 512, "temperature_max": 1},
}
COMMON: dict[str, Any] = {
    "image_bytes_max": 32 * MIB,
    "pixels_max": 100_000_000,
    "queue_max": 256,
    "timeout_s": 300,
    "silence_s": 60,
    "temperature_max": 2,
    "batch_max": 100,
}


@pytest.mark.parametrize("service", SERVICES)
def test_the_defaults_are_the_contracts(service):
    limits: Limits = importlib.import_module(f"services.{service}.app").LIMITS
    expected = COMMON | TABLE[service]
    assert {name: getattr(limits, name) for name in expected} == expected


@pytest.mark.parametrize("service", ["lighton", "paddle", "deepseek", "chatvlm"])
def test_a_request_beyond_the_queue_is_503_and_told_when_to_come_back(service):
    settings: dict[str, Any] = {
        "OCR_FLEET_FAKE": '{"text": "a", "first_delay_s": 0.5}',
        "OCR_FLEET_SLOTS": "1",
        "OCR_FLEET_QUEUE_MAX": "1",
    }
    with served(service, **settings) as base, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(base, service), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    for answer in answers:
        if answer.status_code == 503:
            assert message_of(service, answer) == "The server is busy"
            assert int(answer.headers["retry-after"]) >= 1


def test_waiting_does_not_count_as_working():
    """The deadline runs from the start of the work, and in a batch for each item."""
    settings: dict[str, Any] = {
        "OCR_FLEET_FAKE": '{"text": "a", "first_delay_s": 0.15}',
        "OCR_FLEET_TIMEOUT_S": "0.5",
        "OCR_FLEET_SLOTS": "1",
    }
    with served("deepseek", **settings) as base, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(base, "deepseek"), range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4
        requests = {"requests": [{"image_base64": PAGE}] * 4}
        results = http.post(f"{base}/ocr/batch", json=requests).json()["results"]
        assert [result["status"] for result in results] == ["success"] * 4
    with served("chatvlm", **settings) as base:
        files = upload(field="files") * 4
        assert http.post(f"{base}/batch/ocr", files=files).json()["successful"] == 4


def test_an_item_that_is_too_slow_fails_alone():
    settings: dict[str, Any] = {
        "OCR_FLEET_FAKE": '{"text": "a", "first_delay_s": 30}',
        "OCR_FLEET_TIMEOUT_S": "0.1",
    }
    with served("deepseek", **settings) as base:
        requests = {"requests": [{"image_base64": PAGE}, {}]}
        slow, bad = http.post(f"{base}/ocr/batch", json=requests).json()["results"]
    assert slow["status"] == "error: The request took longer than 0.1 seconds"
    assert bad["status"] == "error: no image provided"
    with served("chatvlm", **settings) as base:
        body = http.post(f"{base}/batch/ocr", files=upload(field="files")).json()
    assert body["results"][0]["error"] == "The request took longer than 0.1 seconds"


@pytest.mark.parametrize("service", SERVICES)
def test_pixels_are_a_setting_too(service):
    with served(service, OCR_FLEET_PIXELS_MAX="100") as base:
        answer = ask(base, service)
    assert answer.status_code == (413 if service in {"lighton", "chatvlm"} else 400)
    assert "pixels" in message_of(service, answer)


@pytest.mark.parametrize("service", SERVICES)
def test_the_probes_and_metrics(service):
    with served(service, OCR_FLEET_FAKE='{"text": "a b c"}') as base:
        assert ask(base, service).status_code == 200
        assert http.get(f"{base}/livez").json() == {"status": "ok"}
        assert http.get(f"{base}/readyz").json() == {"status": "ready"}
        metrics = http.get(f"{base}/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert json.dumps(service) in metrics.text
        for name in METRICS:
            assert f"ocr_fleet_{name}" in metrics.text


METRICS = (
    "requests",
    "in_flight",
    "queue_depth",
    "request_duration",
    "first_delta",
    "pages",
    "tokens",
)
