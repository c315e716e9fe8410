"""The clients of the deepseek document, run against the service with the real engine."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
import requests

from tests.seeds import deepseek
from tests.seeds.conftest import Node, Shell
from tests.seeds.receipt import says_receipt

pytestmark = pytest.mark.timeout(120)

TAG = re.compile(r"<\|ref\|>.*?<\|/ref\|><\|det\|>\[\[.*?\]\]<\|/det\|>")


def says_receipt_in(answer: dict[str, object]) -> None:
    assert set(answer) == {"request_id", "text", "processing_time", "status"}, answer
    assert uuid.UUID(str(answer["request_id"])).version == 4
    assert answer["status"] == "success"
    assert isinstance(answer["processing_time"], float)
    says_receipt(TAG.sub("", str(answer["text"])))


def test_curl_health(shell: Shell) -> None:
    health = json.loads(shell("health").stdout)
    assert set(health) == {"status", "model_loaded", "gpu_available", "timestamp"}
    assert (health["status"], health["model_loaded"]) == ("healthy", True)


@pytest.mark.parametrize("case", ["file_as_written", "stream_as_written"])
def test_curl_cannot_send_the_prompt_as_written(shell: Shell, case: str) -> None:
    """Why --form-string drives these two: `-F name=<file` reads a file; curl exits with 26."""
    done = shell(case)
    assert (done.returncode, done.stdout) == (26, "")


def test_curl_file(shell: Shell) -> None:
    answer = json.loads(shell("file", "document.jpg").stdout)
    says_receipt_in(answer)
    assert "<|ref|>" not in answer["text"], (
        "a literal backslash-n is a newline, so this is free OCR"
    )


def test_curl_base64(shell: Shell) -> None:
    answer = json.loads(shell("base64", "document.jpg").stdout)
    says_receipt_in(answer)
    assert "<|ref|>" not in answer["text"]


def test_curl_stream(shell: Shell) -> None:
    lines = shell("stream", "document.jpg").stdout.splitlines()
    assert [line for line in lines if line][-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines if line)
    says_receipt("\n".join(line[6:] for line in lines))


def test_fetch_file_under_node(node: Node) -> None:
    says_receipt(node("deepseek.mjs", "file", image="document.jpg"))


def test_fetch_stream_under_node(node: Node) -> None:
    """It sends no prompt, so the default asks for Markdown with boxes."""
    text = node("deepseek.mjs", "stream", image="document.jpg")
    assert TAG.search(text), text
    says_receipt(TAG.sub("", text))


async def test_python_client(base: str, images: Path) -> None:
    async with deepseek.Client(base) as client:
        assert (await client.health())["status"] == "healthy"
        says_receipt_in(await client.from_base64(images / "document.jpg"))
        says_receipt_in(await client.from_file(images / "document.jpg", deepseek.MARKDOWN))


async def test_python_client_streams(base: str, images: Path) -> None:
    async with deepseek.Client(base) as client:
        texts = await client.stream(images / "document.jpg", deepseek.FREE)
    says_receipt("\n".join(texts))


async def test_python_client_batch(base: str, images: Path) -> None:
    """The body of the document's batch: two items, answered in their order."""
    paths = [images / "doc2.jpg", images / "doc1.jpg"]
    async with deepseek.Client(base) as client:
        answer = await client.batch(paths, deepseek.FREE)
    assert set(answer) == {"results", "total_processing_time"}
    first, second = answer["results"]
    assert "Cloakroom ticket" in first["text"]
    says_receipt_in(second)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_of_documentation(base: str, path: str) -> None:
    answer = requests.get(base + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
