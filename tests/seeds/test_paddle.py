"""The clients of the paddle document, LangChain and the remote-engine adapter, run against the
service with the real engine."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.pages import page
from tests.seeds import paddle
from tests.seeds.conftest import Shell
from tests.seeds.receipt import says_receipt

pytestmark = pytest.mark.timeout(120)


def test_curl_health(shell: Shell) -> None:
    health = json.loads(shell("health").stdout)
    assert set(health) == {"status", "model_loaded", "device", "memory_used_mb"}
    assert health["status"] == "healthy"
    assert health["model_loaded"] is True


def test_curl_models(shell: Shell) -> None:
    assert json.loads(shell("models").stdout) == {
        "object": "list",
        "data": [
            {
                "id": "PaddlePaddle/PaddleOCR-VL",
                "object": "model",
                "created": 0,
                "owned_by": "paddleocr",
            }
        ],
    }


def test_curl_chat(shell: Shell) -> None:
    done = shell("chat", "image.png")
    answer = json.loads(done.stdout)
    assert answer["model"] == "PaddlePaddle/PaddleOCR-VL", done.stdout
    says_receipt(answer["choices"][0]["message"]["content"])


def test_requests(base: str, images: Path) -> None:
    says_receipt(paddle.with_requests(base, images / "image.png"))


def test_receipt_as_json(base: str, images: Path) -> None:
    text = paddle.with_requests(base, images / "image.png", "Extract receipt information as JSON")
    assert json.loads(text) == page("receipt").fields


def test_openai_sdk(base: str, images: Path) -> None:
    says_receipt(paddle.with_openai(base, images / "image.png"))


def test_langchain(base: str, images: Path) -> None:
    text, tokens = paddle.with_langchain(base, images / "image.png")
    says_receipt(text)
    assert tokens > 20


def test_remote_engine_adapter(base: str, images: Path) -> None:
    """Its text speaks of tables, and must still get the whole page; a key changes nothing."""
    says_receipt(paddle.with_remote_engine(base, images / "image.png", key="a-key"))


def test_no_image(base: str) -> None:
    body = {
        "model": "PaddlePaddle/PaddleOCR-VL",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Extract text"}]}],
    }
    answer = requests.post(f"{base}/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json() == {"detail": "No image provided in request"}
