"""The clients of the chatvlm document, run against the service with the real engine."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.seeds import chatvlm
from tests.seeds.conftest import Shell
from tests.seeds.receipt import says_receipt

pytestmark = pytest.mark.timeout(120)


def test_curl_health(shell: Shell) -> None:
    health = json.loads(shell("health").stdout)
    assert set(health) == {"status", "gpu_available", "gpu_name", "models_loaded", "loaded_models"}
    assert health["status"] == "healthy"
    assert health["models_loaded"] == len(health["loaded_models"])


def test_curl_models(shell: Shell) -> None:
    models = json.loads(shell("models").stdout)
    assert set(models) == {"available", "loaded"}
    assert [model["id"] for model in models["available"]] == [
        "got_ocr",
        "qwen_vl_2b",
        "qwen_vl_7b",
        "qwen3_vl_2b",
        "qwen3_vl_4b",
        "qwen3_vl_8b",
        "dots_ocr",
    ]
    assert all(set(model) == {"id", "name", "params"} for model in models["available"])


def test_curl_ocr(shell: Shell) -> None:
    answer = json.loads(shell("ocr").stdout)
    assert set(answer) == {"text", "model", "processing_time", "image_size", "language"}, answer
    assert (answer["model"], answer["language"]) == ("qwen3_vl_2b", None)
    assert answer["image_size"] == [620, 1000]
    says_receipt(answer["text"])


def test_curl_chat(shell: Shell) -> None:
    answer = json.loads(shell("chat").stdout)
    assert set(answer) == {"response", "model", "processing_time", "prompt"}, answer
    assert (answer["model"], answer["prompt"]) == ("qwen3_vl_4b", "What's in this image?")
    assert "GREEN CORNER SHOP" in answer["response"]


def test_curl_batch(shell: Shell) -> None:
    answer = json.loads(shell("batch", "doc1.jpg").stdout)
    assert (answer["total"], answer["successful"], answer["failed"]) == (3, 3, 0), answer
    for result in answer["results"]:
        assert set(result) == {"filename", "text", "processing_time", "status"}
        assert (result["filename"], result["status"]) == ("doc1.jpg", "success")
        says_receipt(result["text"])


def test_curl_loads_and_unloads(shell: Shell) -> None:
    """The two calls of the section on memory: a model is loaded by use, and freed by DELETE."""
    says_receipt(json.loads(shell("load").stdout)["text"])
    assert "qwen3_vl_8b" in json.loads(shell("models").stdout)["loaded"]
    assert json.loads(shell("unload").stdout) == {
        "status": "success",
        "message": "Model qwen3_vl_8b unloaded",
    }
    assert "qwen3_vl_8b" not in json.loads(shell("models").stdout)["loaded"]


def test_requests_ocr(base: str, images: Path) -> None:
    says_receipt(chatvlm.ocr(base, images / "document.jpg"))


def test_requests_chat(base: str, images: Path) -> None:
    assert "GREEN CORNER SHOP" in chatvlm.chat(base, images / "image.jpg")


@pytest.mark.parametrize("model", ["qwen3_vl_2b", None])
def test_requests_batch(base: str, images: Path, model: str | None) -> None:
    """With a model, and as the example over a folder: without one."""
    answer = chatvlm.batch(base, [images / "doc1.jpg", images / "doc2.jpg"], model)
    assert answer["successful"] == 2, answer
    assert [result["filename"] for result in answer["results"]] == ["doc1.jpg", "doc2.jpg"]
    says_receipt(answer["results"][0]["text"])
    assert "Cloakroom ticket" in answer["results"][1]["text"]


def test_error_handling(base: str, images: Path) -> None:
    said, detail = chatvlm.failing(base, images / "notes.txt")
    assert said.startswith("400 Client Error")
    assert detail


def test_thread_pool(base: str, images: Path) -> None:
    answers = chatvlm.concurrently(base, [images / f"doc{number}.jpg" for number in (1, 2, 3)])
    assert [answer["model"] for answer in answers] == ["qwen3_vl_2b"] * 3
    says_receipt(answers[0]["text"])
    assert "Cloakroom ticket" in answers[1]["text"]
    says_receipt(answers[2]["text"])


def test_root(base: str) -> None:
    assert requests.get(base).json() == {
        "message": "ChatVLMLLM API",
        "version": "1.0.0",
        "docs": "/docs",
        "health": "/health",
    }


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_of_documentation(base: str, path: str) -> None:
    answer = requests.get(base + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
