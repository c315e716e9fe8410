"""The clients of the dots document, run against the service with the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.seeds import dots
from tests.seeds.conftest import Shell
from tests.seeds.receipt import says_receipt

pytestmark = pytest.mark.timeout(120)


def says_receipt_in_layout(response: str) -> None:
    """The answer is a JSON array of boxes, categories and texts that hold the receipt."""
    blocks = json.loads(response)
    assert all(
        {"bbox", "category"} <= set(block) <= {"bbox", "category", "text"} for block in blocks
    )
    text = "\n".join(block.get("text", "") for block in blocks)
    says_receipt(text)


def test_curl_health(shell: Shell) -> None:
    assert json.loads(shell("health").stdout) == {"status": "healthy", "model_loaded": True}


def test_curl_path(shell: Shell) -> None:
    done = shell("path")
    answer = json.loads(done.stdout)
    assert set(answer) == {"model", "response", "prompt_type"}, done.stdout
    assert (answer["model"], answer["prompt_type"]) == ("dots-ocr", "prompt_layout_all_en")
    says_receipt_in_layout(answer["response"])


def test_curl_base64(shell: Shell) -> None:
    answer = json.loads(shell("base64").stdout)
    assert answer["prompt_type"] == "prompt_ocr", answer
    says_receipt(answer["response"])


def test_curl_stream(shell: Shell) -> None:
    lines = [json.loads(line) for line in shell("stream").stdout.splitlines()]
    assert len(lines) > 1, lines
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["response"] == ""
    says_receipt_in_layout("".join(line["response"] for line in lines))


def test_requests(base: str, images: Path) -> None:
    assert dots.health(base) == {"status": "healthy", "model_loaded": True}
    answer = dots.with_requests(base, images / "image.jpg")
    assert set(answer) == {"model", "response", "prompt_type"}, answer
    says_receipt_in_layout(answer["response"])
